// Turns a picture of any size into a network's input. Training, evaluation and prediction all use this one function.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/model.hpp"
#include "data/augment.hpp"
#include "data/picture.hpp"
#include "data/resample.hpp"

namespace pleat {

/// The pictures that a network expects.
struct PictureFormat {
  int height = 0, width = 0, channels = 0;
  std::vector<float> mean, std;  ///< One number per channel: x = (pixel/255 - mean) / std.
  double crop = 1;               ///< The part of the shorter side that the network sees, as in Model.
  Interpolation interpolation = Interpolation::bilinear;
  bool operator==(const PictureFormat&) const = default;
};
PictureFormat picture_format(const Model& model);

/// The view of a height x width picture for evaluation: it is scaled, keeping its proportions, and the output is cut
/// out of its centre, so that it covers the part `crop` of the shorter side. This is torchvision's Resize(int(side /
/// crop)) followed by CenterCrop(side). Throws std::invalid_argument unless `crop` is above 0 and at most 1.
View centre_view(int height, int width, int out_height, int out_width, double crop);

/// Scales, augments and normalises pictures.
class Transform {
 public:
  /// Without `augment`, pictures are prepared for evaluation. Throws std::invalid_argument if the mean or the standard
  /// deviation does not have one number per channel.
  Transform(PictureFormat format, std::optional<Augment> augment);

  /// Writes the network's input [height, width, channels] to `out`. With augmentation the view is drawn from `rng`,
  /// otherwise it is the picture's centre_view. A picture that already has the network's size is used whole, without
  /// cropping its edges away. `mirrored`, if given, says whether to mirror, in place of chance. Several threads may
  /// call this at once. Throws std::invalid_argument if the augmentation is to pad and crop (Augment::crop_pad) and the
  /// picture does not have the network's size.
  void operator()(std::span<float> out, const Pixels& picture, Rng rng, std::optional<bool> mirrored = {}) const;

 private:
  PictureFormat format_;
  std::optional<Augment> augment_;
  Normalizer normalize_;
};

}  // namespace pleat
