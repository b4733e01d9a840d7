#include "fold/engine/picture_lines.hpp"

#include <algorithm>

#include "core/simd/bf16.hpp"

namespace pleat {

int64_t bordered_width(const Conv2d& op, const Nhwc& x, int64_t out_width) {
  return std::max<int64_t>(op.pad.left + x.w + op.pad.right, (out_width - 1) * op.stride + op.kernel);
}

template <class T>
void copy_bordered(T* to, int64_t pitch, const T* picture, const Nhwc& x, const Padding& pad, const Range& lines) {
  const int64_t left = pad.left * x.c, inside = x.w * x.c;
  for (int64_t line = lines.begin; line < lines.end; ++line, to += pitch) {
    if (line < 0 || line >= x.h) {
      std::fill_n(to, pitch, T(0.0f));
      continue;
    }
    std::fill_n(to, left, T(0.0f));
    std::copy_n(picture + line * inside, inside, to + left);
    std::fill(to + left + inside, to + pitch, T(0.0f));
  }
}

template void copy_bordered(float*, int64_t, const float*, const Nhwc&, const Padding&, const Range&);
template void copy_bordered(Bf16*, int64_t, const Bf16*, const Nhwc&, const Padding&, const Range&);

AlignedVector<float> weights_by_line(std::span<const float> weight, const Conv2d& op, int64_t in, int64_t run) {
  AlignedVector<float> lines(op.out * op.kernel * run);
  for (int64_t o = 0; o < op.out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t row = 0; row < op.kernel; ++row)
        for (int64_t column = 0; column < op.kernel; ++column)
          lines[(o * op.kernel + row) * run + column * in + i] =
              weight[((o * in + i) * op.kernel + row) * op.kernel + column];
  return lines;
}

}  // namespace pleat
