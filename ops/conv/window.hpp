// A square window that slides over a picture: what convolutions, poolings and shortcuts have in common.
#pragma once

#include <cstdint>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Shape of the output, with `channels` channels: floor((H + top + bottom - kernel) / stride) + 1 rows, columns alike.
inline Nhwc slide(const Nhwc& x, int64_t channels, int kernel, int stride, const Padding& pad) {
  return {x.n, (x.h + pad.top + pad.bottom - kernel) / stride + 1, (x.w + pad.left + pad.right - kernel) / stride + 1,
          channels};
}

/// The pixels [begin, end) of [0, extent) that a window with its first tap at `start` covers; end <= begin where none.
struct Taps {
  int64_t begin, end;
};
inline Taps taps_inside(int64_t start, int kernel, int64_t extent) {
  const int64_t last = start + kernel < extent ? start + kernel : extent;
  return {start > 0 ? start : 0, last};
}

/// True if an output pixel sees but the input pixel at its own place. A 1x1 convolution with a stride does not.
inline bool sees_own_pixel(const Conv2d& op) {
  return op.kernel == 1 && op.stride == 1 && op.pad == Padding{};
}

/// True for a pointwise convolution: a product of the pixels, in their order, with one matrix of weights.
inline bool is_pointwise(const Conv2d& op) {
  return sees_own_pixel(op) && op.groups == 1;
}

}  // namespace pleat
