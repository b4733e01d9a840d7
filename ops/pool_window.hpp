// The walk over windows that the poolings share. They treat every channel by itself.
#pragma once

#include "core/tensor.hpp"
#include "ops/conv/window.hpp"

namespace pleat {

/// Calls visit(pixel of y, first pixel of x, rows, columns) for every output pixel of y's lines [begin, end), which are
/// counted over all pictures. Without its padding, the pixel's window is rows by columns pixels of x from the first one
/// on; if it is padding alone, rows or columns are 0 or less. `op` has the attributes kernel, stride and pad.
template <class Pool, class Visit>
void for_each_window(int64_t begin, int64_t end, const Nhwc& y, const Nhwc& x, const Pool& op, const Visit& visit) {
  for (int64_t line = begin; line < end; ++line) {
    const Taps rows = taps_inside(line % y.h * op.stride - op.pad.top, op.kernel, x.h);
    for (int64_t j = 0; j < y.w; ++j) {
      const Taps columns = taps_inside(j * op.stride - op.pad.left, op.kernel, x.w);
      const int64_t first = (line / y.h * x.h + rows.begin) * x.w + columns.begin;
      visit(line * y.w + j, first, rows.end - rows.begin, columns.end - columns.begin);
    }
  }
}

}  // namespace pleat
