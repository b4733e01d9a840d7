#include "ops/avg_pool2d.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/pool_window.hpp"

namespace pleat {
namespace {

template <class T>
void axpy(T* y, const T* x, int64_t channels, compute_t<T> scale) {
  dispatch([=](auto) PLEAT_INLINE {
    for (int64_t c = 0; c < channels; ++c) y[c] = T(y[c] + scale * x[c]);
  });
}

// y = scale * the sum of the window, whose rows by columns pixels begin at x, in a picture `width` pixels wide. The sum
// is complete before it is rounded and stored.
template <class T>
PLEAT_INLINE inline void scaled_sum(T* y, const T* x, int64_t rows, int64_t columns, int64_t width, int64_t channels,
                                    compute_t<T> scale) {
  constexpr int64_t kBlock = 64;
  for (int64_t begin = 0; begin < channels; begin += kBlock) {
    const int64_t count = std::min(kBlock, channels - begin);
    compute_t<T> sum[kBlock] = {};
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        const T* pixel = x + (row * width + column) * channels + begin;
        for (int64_t c = 0; c < count; ++c) sum[c] += pixel[c];
      }
    for (int64_t c = 0; c < count; ++c) y[begin + c] = T(scale * sum[c]);
  }
}

}  // namespace

template <class T>
void avg_pool2d_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape, const AvgPool2d& op) {
  const int64_t channels = x_shape.c;
  const Nhwc y_shape = slide(x_shape, channels, op.kernel, op.stride, op.pad);
  const compute_t<T> scale = compute_t<T>{1} / static_cast<compute_t<T>>(op.kernel * op.kernel);
  parallel_for(y_shape.n * y_shape.h, [&](int64_t begin, int64_t end, int) {
    for_each_window(begin, end, y_shape, x_shape, op, [&](int64_t to, int64_t first, int64_t rows, int64_t columns) {
      dispatch([&](auto) PLEAT_INLINE {
        scaled_sum(y.data() + to * channels, x.data() + first * channels, rows, columns, x_shape.w, channels, scale);
      });
    });
  });
}

template <class T>
void avg_pool2d_backward(std::span<T> dx, std::span<const T> dy, const Nhwc& x_shape, const AvgPool2d& op) {
  const int64_t channels = x_shape.c, picture = x_shape.h * x_shape.w * channels;
  const Nhwc y_shape = slide(x_shape, channels, op.kernel, op.stride, op.pad);
  const compute_t<T> scale = compute_t<T>{1} / static_cast<compute_t<T>>(op.kernel * op.kernel);
  parallel_for(y_shape.n, [&](int64_t begin, int64_t end, int) {  // pictures: windows overlap inside one
    std::fill(dx.begin() + begin * picture, dx.begin() + end * picture, T{0});
    for_each_window(begin * y_shape.h, end * y_shape.h, y_shape, x_shape, op,
                    [&](int64_t from, int64_t first, int64_t rows, int64_t columns) {
                      for (int64_t row = 0; row < rows; ++row)
                        for (int64_t column = 0; column < columns; ++column)
                          axpy(dx.data() + (first + row * x_shape.w + column) * channels, dy.data() + from * channels,
                               channels, scale);
                    });
  });
}

#define PLEAT_INSTANTIATE(T)                                                                         \
  template void avg_pool2d_forward(std::span<T>, std::span<const T>, const Nhwc&, const AvgPool2d&); \
  template void avg_pool2d_backward(std::span<T>, std::span<const T>, const Nhwc&, const AvgPool2d&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
