// Mixing pictures, by which a few pictures show a student many inputs: x_i = w * x_i + (1 - w) * x_j, with the same
// weight for all pictures of a batch. Nothing is said of labels; a teacher that sees the mixed pictures needs none.
// Source: Zhang et al. 2017, "mixup", arXiv:1710.09412, with Beta(1, 1); for few pictures and a teacher Beyer et al.
// 2021, arXiv:2106.05237.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.hpp"

namespace pleat {

class PictureMixer {
 public:
  /// Mixes the part `share` (0 to 1) of all batches. What is drawn depends on `seed` and the step's number alone.
  PictureMixer(double share, uint64_t seed) : share_(share), seed_(seed) {}

  /// `images` [pictures, ...], or the same mixed, valid until the next call.
  std::span<const float> mix(std::span<const float> images, int64_t pictures, int64_t step);

 private:
  double share_;
  uint64_t seed_;
  AlignedVector<float> mixed_;
};

}  // namespace pleat
