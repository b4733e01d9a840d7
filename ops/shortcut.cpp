#include "ops/shortcut.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

// For each pixel of x, of pictures [begin, end), that y keeps: calls copy(index of its first channel in y, in x).
template <class Copy>
void for_kept(int64_t begin, int64_t end, const Nhwc& y, const Nhwc& x, const Shortcut& op, const Copy& copy) {
  const int64_t before = (y.c - x.c) / 2;
  for (int64_t n = begin; n < end; ++n)
    for (int64_t i = 0; i < y.h; ++i) {
      const int64_t row = i * op.stride - op.pad.top;
      if (row < 0 || row >= x.h) continue;
      for (int64_t j = 0; j < y.w; ++j) {
        const int64_t column = j * op.stride - op.pad.left;
        if (column < 0 || column >= x.w) continue;
        copy(((n * y.h + i) * y.w + j) * y.c + before, ((n * x.h + row) * x.w + column) * x.c);
      }
    }
}

}  // namespace

template <class T>
void shortcut_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape, const Shortcut& op) {
  const Nhwc y_shape = slide(x_shape, op.out, 1, op.stride, op.pad);
  const int64_t picture = y_shape.h * y_shape.w * y_shape.c;
  parallel_for(x_shape.n, [&](int64_t begin, int64_t end, int) {
    std::fill(y.begin() + begin * picture, y.begin() + end * picture, T{0});
    for_kept(begin, end, y_shape, x_shape, op,
             [&](int64_t to, int64_t from) { std::copy_n(x.data() + from, x_shape.c, y.data() + to); });
  });
}

template <class T>
void shortcut_backward(std::span<T> dx, std::span<const T> dy, const Nhwc& x_shape, const Shortcut& op) {
  const Nhwc y_shape = slide(x_shape, op.out, 1, op.stride, op.pad);
  const int64_t picture = x_shape.h * x_shape.w * x_shape.c;
  parallel_for(x_shape.n, [&](int64_t begin, int64_t end, int) {
    std::fill(dx.begin() + begin * picture, dx.begin() + end * picture, T{0});
    for_kept(begin, end, y_shape, x_shape, op,
             [&](int64_t from, int64_t to) { std::copy_n(dy.data() + from, x_shape.c, dx.data() + to); });
  });
}

#define PLEAT_INSTANTIATE(T)                                                                      \
  template void shortcut_forward(std::span<T>, std::span<const T>, const Nhwc&, const Shortcut&); \
  template void shortcut_backward(std::span<T>, std::span<const T>, const Nhwc&, const Shortcut&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
