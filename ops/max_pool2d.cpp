#include "ops/max_pool2d.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/simd.hpp"
#include "ops/pool_window.hpp"

namespace pleat {
namespace {

template <class T>
PLEAT_INLINE inline bool beats(T challenger, T best) {
  return challenger > best || challenger != challenger;  // NOLINT(misc-redundant-expression): NaN
}

template <class T>
void maximum(T* y, const T* x, int64_t channels) {
  dispatch([=](auto) PLEAT_INLINE {
    for (int64_t c = 0; c < channels; ++c) {
      const compute_t<T> challenger = x[c], best = y[c];
      y[c] = T(beats(challenger, best) ? challenger : best);
    }
  });
}

// dx += dy at the maximum of each channel's window, which covers rows by columns of `x`; `width` is x's row length in
// pixels, x and dx start at the window's first pixel inside the picture.
template <class T>
void scatter(T* dx, const T* dy, const T* x, int64_t rows, int64_t columns, int64_t width, int64_t channels) {
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    using V = Vec<compute_t<T>, Isa::kBytes / sizeof(compute_t<T>)>;
    const auto block = [&](int64_t c, int64_t lanes) PLEAT_INLINE {
      V best, value, left;
      load<Isa>(best, x + c, lanes);
      load<Isa>(left, dy + c, lanes);  // until the first maximum has taken it
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          load<Isa>(value, x + (row * width + column) * channels + c, lanes);
          keep_where_less(best, value, best, value);
        }
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          const int64_t offset = (row * width + column) * channels + c;
          V taken{}, sum;
          load<Isa>(value, x + offset, lanes);
          load<Isa>(sum, dx + offset, lanes);
          keep_where_less(taken, value, best, left);
          keep_where_less(left, value, best, V{});
          store<Isa>(dx + offset, sum + taken, lanes);
        }
    };
    constexpr int64_t kLanes = kWidthOf<V>;
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) block(c, kLanes);
    if (c < channels) block(c, channels - c);
  });
}

}  // namespace

template <class T>
void max_pool2d_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape, const MaxPool2d& op) {
  const int64_t channels = x_shape.c;
  const Nhwc y_shape = slide(x_shape, channels, op.kernel, op.stride, op.pad);
  parallel_for(y_shape.n * y_shape.h, [&](int64_t begin, int64_t end, int) {
    for_each_window(begin, end, y_shape, x_shape, op, [&](int64_t to, int64_t first, int64_t rows, int64_t columns) {
      T* target = y.data() + to * channels;
      std::copy_n(x.data() + first * channels, channels, target);
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column)
          maximum(target, x.data() + (first + row * x_shape.w + column) * channels, channels);
    });
  });
}

template <class T>
void max_pool2d_backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                         const MaxPool2d& op) {
  const int64_t channels = x_shape.c, picture = x_shape.h * x_shape.w * channels;
  const Nhwc y_shape = slide(x_shape, channels, op.kernel, op.stride, op.pad);
  parallel_for(y_shape.n, [&](int64_t begin, int64_t end, int) {  // pictures: windows overlap inside one
    std::fill(dx.begin() + begin * picture, dx.begin() + end * picture, T{0});
    for_each_window(begin * y_shape.h, end * y_shape.h, y_shape, x_shape, op,
                    [&](int64_t from, int64_t first, int64_t rows, int64_t columns) {
                      scatter(dx.data() + first * channels, dy.data() + from * channels, x.data() + first * channels,
                              rows, columns, x_shape.w, channels);
                    });
  });
}

#define PLEAT_INSTANTIATE(T)                                                                           \
  template void max_pool2d_forward(std::span<T>, std::span<const T>, const Nhwc&, const MaxPool2d&);   \
  template void max_pool2d_backward(std::span<T>, std::span<const T>, std::span<const T>, const Nhwc&, \
                                    const MaxPool2d&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
