#include "data/augment.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

PLEAT_INLINE inline void normalise_row(float* __restrict out, const uint8_t* __restrict in,
                                       const float* __restrict scale, const float* __restrict shift, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale[i] + shift[i];
}

void mirror_row(float* row, int width, int channels) {
  for (int left = 0, right = width - 1; left < right; ++left, --right)
    std::swap_ranges(row + left * channels, row + (left + 1) * channels, row + right * channels);
}

}  // namespace

Placement draw_placement(const Augment& augment, Rng& rng) {
  const uint32_t places = 2 * augment.crop_pad + 1;
  Placement placement;
  placement.dy = static_cast<int>(rng.below(places)) - augment.crop_pad;
  placement.dx = static_cast<int>(rng.below(places)) - augment.crop_pad;
  placement.mirrored = augment.flip && rng.below(2) == 1;
  return placement;
}

void cut_out(std::span<float> picture, int height, int width, int channels, int side, Rng& rng) {
  const int top = static_cast<int>(rng.below(height)) - side / 2, left = static_cast<int>(rng.below(width)) - side / 2;
  const int first = std::clamp(left, 0, width), last = std::clamp(left + side, 0, width);
  for (int y = std::max(top, 0); y < std::min(top + side, height); ++y)
    std::fill_n(picture.begin() + (int64_t{y} * width + first) * channels, int64_t{last - first} * channels, 0.0f);
}

Box draw_resized_crop(int height, int width, Rng& rng) {
  const double area = static_cast<double>(height) * width, widest = 4.0 / 3;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * (0.08 + 0.92 * rng.uniform());
    const double ratio = std::exp((2 * rng.uniform() - 1) * std::log(widest));
    const auto h = std::lrint(std::sqrt(target / ratio)), w = std::lrint(std::sqrt(target * ratio));
    if (h < 1 || h > height || w < 1 || w > width) continue;
    const auto top = rng.below(static_cast<uint32_t>(height - h + 1)),
               left = rng.below(static_cast<uint32_t>(width - w + 1));
    return {static_cast<int>(top), static_cast<int>(left), static_cast<int>(h), static_cast<int>(w)};
  }
  const int h = std::min(height, std::max(1, static_cast<int>(std::lrint(width * widest)))),
            w = std::min(width, std::max(1, static_cast<int>(std::lrint(height * widest))));
  return {(height - h) / 2, (width - w) / 2, h, w};
}

Normalizer::Normalizer(int height, int width, int channels, std::span<const float> mean, std::span<const float> std)
    : height_(height), width_(width), channels_(channels) {
  const auto given = static_cast<std::size_t>(channels);
  PLEAT_CHECK(mean.size() == given && std.size() == given, "normalisation: got ", mean.size(), " means and ",
              std.size(), " standard deviations, expected ", channels, " of each, one per channel");
  for (float deviation : std)
    PLEAT_CHECK(deviation > 0, "normalisation: a standard deviation is ", deviation, ", expected more than 0");
  for (int x = 0; x < width; ++x)
    for (int c = 0; c < channels; ++c) {
      scale_.push_back(static_cast<float>(1 / (255.0 * std[c])));
      shift_.push_back(static_cast<float>(-double{mean[c]} / std[c]));
    }
}

void Normalizer::operator()(std::span<float> out, std::span<const uint8_t> image, const Placement& placement) const {
  const std::size_t size = scale_.size() * height_;
  PLEAT_CHECK(out.size() == size && image.size() == size, "normalisation: got ", image.size(), " bytes and room for ",
              out.size(), " floats, expected ", size, " of each");
  const int row_size = width_ * channels_;
  // Elements of an output row before `first` and from `last` on are padding.
  const int first = std::clamp(-placement.dx, 0, width_) * channels_;
  const int last = std::clamp(width_ - placement.dx, 0, width_) * channels_;
  for (int y = 0; y < height_; ++y) {
    float* const row = out.data() + int64_t{y} * row_size;
    const int from = y + placement.dy;
    const bool black = from < 0 || from >= height_ || first >= last;
    std::copy_n(shift_.data(), black ? row_size : first, row);
    if (black) continue;
    const uint8_t* const visible = image.data() + int64_t{from} * row_size + first + placement.dx * channels_;
    dispatch([&](auto) PLEAT_INLINE {
      normalise_row(row + first, visible, scale_.data() + first, shift_.data() + first, last - first);
    });
    std::copy(shift_.begin() + last, shift_.end(), row + last);
    if (placement.mirrored) mirror_row(row, width_, channels_);
  }
}

}  // namespace pleat
