// The walk over windows that poolings share, every channel by itself.
#pragma once

#include "core/tensor.hpp"
#include "ops/conv/window.hpp"

namespace pleat {

/// Calls visit(pixel of y, first pixel of x, rows, columns) for every output pixel of y's lines [begin, end), counted
/// over all pictures: what its window sees of x, padding left out, is rows by columns pixels from the first one on.
/// Either is 0 or less where it sees padding alone. `op` has kernel, stride and pad.
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
