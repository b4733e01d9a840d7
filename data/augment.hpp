// Random augmentation of training pictures, and the conversion of bytes to normalised floats, both as torchvision does
// them. Small pictures get torchvision's RandomCrop with padding, photographs its RandomResizedCrop, and both its
// RandomHorizontalFlip; the conversion is ToTensor followed by Normalize. Padding comes before normalisation, so padded
// pixels are black, which normalises to -mean/std and not to 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.hpp"
#include "data/resample.hpp"

namespace pleat {

/// Which augmentations a training uses.
struct Augment {
  /// True: cut out a random part of the picture, with 8% to 100% of its area and an aspect ratio from 3:4 to 4:3, and
  /// scale it to the network's size (RandomResizedCrop). False: pad by `crop_pad` and crop to the original size.
  bool resized_crop = false;
  int crop_pad = 4;  ///< Black pixels added on each side before the crop; unused with `resized_crop`.
  bool flip = true;  ///< Mirror left and right with probability 1/2.
  /// With flip: chance decides in the first epoch alone, and from then on each picture is mirrored in every second
  /// epoch, so that two epochs show it both ways. (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", arXiv:2404.00498)
  bool alternate_flip = false;
  /// Side in pixels of a square that is blanked, anywhere, perhaps partly outside; 0: none. (DeVries & Taylor 2017,
  /// arXiv:1708.04552)
  int cutout = 0;
};

/// The random choices for one picture. Output pixel (y, x) is input pixel (y + dy, x + dx), or black if that lies
/// outside the picture; afterwards the rows are mirrored if `mirrored` is set.
struct Placement {
  int dy = 0, dx = 0;
  bool mirrored = false;
};

/// Draws dy and dx uniformly from -crop_pad..crop_pad, then whether to mirror.
Placement draw_placement(const Augment& augment, Rng& rng);

/// Sets a square of `side` pixels to 0, the mean of normalised pixels, around a centre drawn uniformly from the picture
/// [height, width, channels].
void cut_out(std::span<float> picture, int height, int width, int channels, int side, Rng& rng);

/// Draws the part of a height x width picture that RandomResizedCrop cuts out. Ten random areas and aspect ratios are
/// tried; if none fits into the picture, the result is the largest central part with an aspect ratio from 3:4 to 4:3.
Box draw_resized_crop(int height, int width, Rng& rng);

/// Computes (pixel/255 - mean[c]) / std[c] for pictures of one size [height, width, channels].
class Normalizer {
 public:
  /// Throws std::invalid_argument unless `mean` and `std` have one number per channel and every std is positive.
  Normalizer(int height, int width, int channels, std::span<const float> mean, std::span<const float> std);

  /// Writes the normalised picture, moved and mirrored as `placement` says, to out [height, width, channels]. Throws
  /// std::invalid_argument if a size does not match. Allocates nothing; several threads may call it at once.
  void operator()(std::span<float> out, std::span<const uint8_t> image, const Placement& placement = {}) const;

 private:
  int height_, width_, channels_;
  std::vector<float> scale_, shift_;  // [width, channels]: one row, so that a whole row is one vector loop
};

}  // namespace pleat
