#include "data/transform.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.hpp"

namespace pleat {

PictureFormat picture_format(const Model& model) {
  const Input& input = std::get<Input>(model.graph.nodes[0].op);
  return {input.height, input.width, input.channels, model.mean, model.std, model.crop, model.interpolation};
}

View centre_view(int height, int width, int out_height, int out_width, double crop) {
  PLEAT_CHECK(crop > 0 && crop <= 1, "the crop is ", crop, ", expected above 0 and at most 1");
  // The side that needs the greater scale decides. Both sides are rounded down, as in torchvision.
  const auto side = [](double length, int at_least) {
    constexpr double rounding = 1e-6;
    return std::max(at_least, static_cast<int>(std::min(length + rounding, 1e9)));
  };
  const bool by_height = int64_t{out_height} * width >= int64_t{out_width} * height;
  View view{{0, 0, height, width}, 0, 0, {}};
  if (by_height) {
    view.height = side(out_height / crop, out_height);
    view.width = side(static_cast<double>(view.height) * width / height, out_width);
  } else {
    view.width = side(out_width / crop, out_width);
    view.height = side(static_cast<double>(view.width) * height / width, out_height);
  }
  view.window = {static_cast<int>(std::lrint((view.height - out_height) / 2.0)),
                 static_cast<int>(std::lrint((view.width - out_width) / 2.0)), out_height, out_width};
  return view;
}

Transform::Transform(PictureFormat format, std::optional<Augment> augment)
    : format_(std::move(format)),
      augment_(augment),
      normalize_(format_.height, format_.width, format_.channels, format_.mean, format_.std) {}

void Transform::operator()(std::span<float> out, const Pixels& picture, Rng rng, std::optional<bool> mirrored) const {
  const PictureFormat& f = format_;
  const bool resized_crop = augment_ && augment_->resized_crop, padded_crop = augment_ && !resized_crop;
  const bool fits = picture.height == f.height && picture.width == f.width;
  PLEAT_CHECK(fits || !padded_crop, "augmentation: the picture is ", picture.height, "x", picture.width, ", expected ",
              f.height, "x", f.width);
  View view{{0, 0, f.height, f.width}, f.height, f.width, {0, 0, f.height, f.width}};
  if (resized_crop)
    view.box = draw_resized_crop(picture.height, picture.width, rng);
  else if (!fits)
    view = centre_view(picture.height, picture.width, f.height, f.width, f.crop);
  Placement placement =
      !augment_ ? Placement{}
                : draw_placement({.crop_pad = padded_crop ? augment_->crop_pad : 0, .flip = augment_->flip}, rng);
  placement.mirrored = mirrored.value_or(placement.mirrored);
  if (fits && !resized_crop && picture.step == f.channels) {
    normalize_(out, picture.bytes, placement);
  } else {
    std::vector<uint8_t> seen(int64_t{f.height} * f.width * f.channels);
    resample(seen, picture, f.channels, view, f.interpolation);
    normalize_(out, seen, placement);
  }
  if (augment_ && augment_->cutout > 0) cut_out(out, f.height, f.width, f.channels, augment_->cutout, rng);
}

}  // namespace pleat
