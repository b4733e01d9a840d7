#include "fold/elementwise.hpp"

#include <algorithm>

#include "core/parallel.hpp"

namespace pleat {
namespace {

template <class T>
PLEAT_SIMD void add_row(T* y, const T* a, const T* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(a[i]) + static_cast<float>(b[i]);
}

template <class T>
PLEAT_SIMD void activate_row(T* y, const T* x, int64_t n, float alpha, float limit) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    y[i] = alpha * v + (1 - alpha) * std::min(std::max(v, 0.0f), limit);
  }
}

template <class To, class From>
PLEAT_SIMD void convert_row(To* to, const From* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
}

}  // namespace

template <class T>
void add(std::span<T> y, std::span<const T> a, std::span<const T> b) {
  parallel_for(std::ssize(y),
               [&](int64_t begin, int64_t end, int) { add_row(&y[begin], &a[begin], &b[begin], end - begin); });
}

template <class T>
void activate(std::span<T> y, std::span<const T> x, const Activation& act) {
  parallel_for(std::ssize(y), [&](int64_t begin, int64_t end, int) {
    activate_row(&y[begin], &x[begin], end - begin, act.alpha, act.limit);
  });
}

template <class T>
void flatten(std::span<T> y, std::span<const T> x, const Nhwc& s) {
  const int64_t plane = s.h * s.w;
  parallel_for(s.n * s.c, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t p = 0; p < plane; ++p) y[row * plane + p] = x[(row / s.c * plane + p) * s.c + row % s.c];
  });
}

template <class To, class From>
void convert(std::span<To> to, std::span<const From> from) {
  parallel_for(std::ssize(to),
               [&](int64_t begin, int64_t end, int) { convert_row(&to[begin], &from[begin], end - begin); });
}

#define PLEAT_INSTANTIATE(T)                                                   \
  template void add(std::span<T>, std::span<const T>, std::span<const T>);     \
  template void activate(std::span<T>, std::span<const T>, const Activation&); \
  template void flatten(std::span<T>, std::span<const T>, const Nhwc&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE
template void convert(std::span<float>, std::span<const Bf16>);
template void convert(std::span<Bf16>, std::span<const float>);

}  // namespace pleat
