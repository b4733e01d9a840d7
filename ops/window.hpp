// Where a sliding window stands: the arithmetic that convolutions and pools share, along one axis.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/parallel.hpp"

namespace pleat {

/// Number of positions of a window of `kernel` on `size` pixels with `before` and `after` zeros around them.
inline int64_t window_positions(int64_t size, int before, int after, int kernel, int stride) {
  return (size + before + after - kernel) / stride + 1;
}

/// The positions, of `positions`, at which the window's pixel `tap` lies on one of the `size` pixels and not on
/// padding.
inline Range positions_inside(int64_t positions, int64_t size, int before, int tap, int stride) {
  const int64_t shift = before - tap;  // position p looks at pixel p * stride - shift
  const int64_t begin = shift <= 0 ? 0 : (shift + stride - 1) / stride;
  const int64_t end = size + shift <= 0 ? 0 : (size + shift - 1) / stride + 1;
  return {begin, std::max(begin, std::min(end, positions))};
}

/// The taps, of `kernel`, that lie on one of the `size` pixels when the window's first tap is at pixel `first`.
inline Range taps_inside(int64_t first, int64_t size, int kernel) {
  const int64_t begin = std::clamp<int64_t>(-first, 0, kernel);
  return {begin, std::clamp<int64_t>(size - first, begin, kernel)};
}

}  // namespace pleat
