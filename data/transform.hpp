// The one way from pictures to a network's input: training, evaluation and prediction all go it.
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

/// How a network wants its pictures.
struct PictureFormat {
  int height = 0, width = 0, channels = 0;
  std::vector<float> mean, std;  ///< x = (pixel/255 - mean) / std, one a channel.
  double crop = 1;               ///< The middle part of the shorter side that is seen, as Model's.
  Interpolation interpolation = Interpolation::bilinear;
  bool operator==(const PictureFormat&) const = default;
};
PictureFormat picture_format(const Model& model);

/// Scaled, proportions kept, so that the middle part `crop` of the shorter side becomes the output, which is cut out of
/// the centre: torchvision's Resize(int(side / crop)) and CenterCrop(side). Throws std::invalid_argument for a crop
/// that is not above 0 and at most 1.
View centre_view(int height, int width, int out_height, int out_width, double crop);

class Transform {
 public:
  /// Throws std::invalid_argument for normalisation that does not fit the channels.
  Transform(PictureFormat format, std::optional<Augment> augment);

  /// out [height, width, channels] from a picture of any size: what is drawn from `rng` to augment it, else its
  /// centre_view; but one that has the network's size was made for it, and is taken whole. Several threads may call it
  /// at once. Throws std::invalid_argument for other sizes than the network's where `augment` is to pad them.
  void operator()(std::span<float> out, const Pixels& picture, Rng rng) const;

 private:
  PictureFormat format_;
  std::optional<Augment> augment_;
  Normalizer normalize_;
};

}  // namespace pleat
