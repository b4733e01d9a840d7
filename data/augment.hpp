// What training sees of a picture, drawn at random, as torchvision does: RandomCrop of the padded picture for small
// ones, RandomResizedCrop for photographs, each with RandomHorizontalFlip. And from bytes to numbers: ToTensor and
// Normalize. The padding is therefore black pixels, which normalise to -mean/std, not to 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.hpp"
#include "data/resample.hpp"

namespace pleat {

struct Augment {
  bool resized_crop = false;  ///< Cut a part out, 8% to 100% of the area, sides from 3:4 to 4:3, and scale it; else
  int crop_pad = 4;           ///< add black pixels on each side before a crop of the original size.
  bool flip = true;           ///< Mirror left and right, half of the time.
};

/// What was drawn for one image: output pixel (y, x) is input pixel (y + dy, x + dx), black outside; then mirrored.
struct Placement {
  int dy = 0, dx = 0;
  bool mirrored = false;
};

/// Draws dy, dx uniformly from -crop_pad..crop_pad, then the flip.
Placement draw(const Augment& augment, Rng& rng);

/// The part of a picture that a random resized crop takes: ten attempts at a random area and shape, else the centre.
Box draw_part(int height, int width, Rng& rng);

/// (pixel/255 - mean[c]) / std[c] for images of one size [height, width, channels].
class Normalizer {
 public:
  /// Throws std::invalid_argument unless mean and std have one number a channel and std is positive.
  Normalizer(int height, int width, int channels, std::span<const float> mean, std::span<const float> std);

  /// out [height, width, channels] from image, placed. Throws std::invalid_argument for other sizes; allocates nothing,
  /// and several threads may call it at once.
  void operator()(std::span<float> out, std::span<const uint8_t> image, const Placement& placement = {}) const;

 private:
  int height_, width_, channels_;
  std::vector<float> scale_, shift_;  // [width, channels]: the same for every row and column
};

}  // namespace pleat
