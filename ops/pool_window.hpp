// What poolings and shortcuts share: a window that slides over a picture, every channel by itself.
#pragma once

#include "core/graph.hpp"
#include "core/tensor.hpp"
#include "ops/window.hpp"

namespace pleat {

/// Shape of the output, with `channels` channels.
inline Nhwc window_output(const Nhwc& x, int64_t channels, int kernel, int stride, const Padding& pad) {
  return {x.n, window_positions(x.h, pad.top, pad.bottom, kernel, stride),
          window_positions(x.w, pad.left, pad.right, kernel, stride), channels};
}

/// Calls visit(pixel of y, first pixel of x, rows, columns) for every output pixel of y's lines [begin, end), counted
/// over all pictures: what its window sees of x, padding left out, is rows by columns pixels from the first one on.
template <class Pool, class Visit>
void for_each_window(int64_t begin, int64_t end, const Nhwc& y, const Nhwc& x, const Pool& op, const Visit& visit) {
  for (int64_t line = begin; line < end; ++line) {
    const int64_t top = line % y.h * op.stride - op.pad.top;
    const Range rows = taps_inside(top, x.h, op.kernel);
    for (int64_t j = 0; j < y.w; ++j) {
      const int64_t left = j * op.stride - op.pad.left;
      const Range columns = taps_inside(left, x.w, op.kernel);
      const int64_t first = (line / y.h * x.h + top + rows.begin) * x.w + left + columns.begin;
      visit(line * y.w + j, first, rows.end - rows.begin, columns.end - columns.begin);
    }
  }
}

}  // namespace pleat
