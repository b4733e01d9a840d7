#include "ops/global_avg_pool.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

template <class T>
PLEAT_INLINE inline void mean(compute_t<T>* y, const T* x, int64_t pixels, int64_t channels) {
  std::fill_n(y, channels, compute_t<T>{0});
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < channels; ++c) y[c] += x[p * channels + c];
  for (int64_t c = 0; c < channels; ++c) y[c] /= static_cast<compute_t<T>>(pixels);
}

template <class T>
PLEAT_INLINE inline void spread(T* dx, const compute_t<T>* dy, int64_t pixels, int64_t channels) {
  const compute_t<T> scale = compute_t<T>{1} / static_cast<compute_t<T>>(pixels);
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < channels; ++c) dx[p * channels + c] = T(scale * dy[c]);
}

}  // namespace

template <class T>
void global_avg_pool_forward(std::span<compute_t<T>> y, std::span<const T> x, const Nhwc& x_shape) {
  const int64_t pixels = x_shape.h * x_shape.w, channels = x_shape.c;
  parallel_for(x_shape.n, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n)
      dispatch([&](auto)
                   PLEAT_INLINE { mean(y.data() + n * channels, x.data() + n * pixels * channels, pixels, channels); });
  });
}

template <class T>
void global_avg_pool_backward(std::span<T> dx, std::span<const compute_t<T>> dy, const Nhwc& x_shape) {
  const int64_t pixels = x_shape.h * x_shape.w, channels = x_shape.c;
  parallel_for(x_shape.n, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n)
      dispatch([&](auto) PLEAT_INLINE {
        spread(dx.data() + n * pixels * channels, dy.data() + n * channels, pixels, channels);
      });
  });
}

#define PLEAT_INSTANTIATE(T)                                                                          \
  template void global_avg_pool_forward<T>(std::span<compute_t<T>>, std::span<const T>, const Nhwc&); \
  template void global_avg_pool_backward<T>(std::span<T>, std::span<const compute_t<T>>, const Nhwc&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
