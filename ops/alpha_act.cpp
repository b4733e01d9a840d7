#include "ops/alpha_act.hpp"

#include <limits>

#include "core/parallel.hpp"
#include "core/parallel_sum.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

// s(x) = min(max(x, 0), cap)
template <class T>
T cap_of(Nonlinearity s) {
  return s == Nonlinearity::relu6 ? T{6} : std::numeric_limits<T>::infinity();
}

template <class T>
PLEAT_INLINE inline T clamp(T x, T cap) {
  const T positive = x > 0 ? x : T{0};
  return positive < cap ? positive : cap;
}

template <class T>
PLEAT_INLINE inline void forward_part(T* y, const T* x, int64_t n, compute_t<T> alpha, compute_t<T> cap) {
  for (int64_t i = 0; i < n; ++i) {
    const compute_t<T> z = x[i], s = clamp(z, cap);
    y[i] = T(s + alpha * (z - s));
  }
}

// Returns the sum of dy * (x - s(x)). Lanes of their own let the compiler vectorise it in a fixed order.
template <class T>
PLEAT_INLINE inline double backward_part(T* dx, const T* dy, const T* x, int64_t n, compute_t<T> alpha,
                                         compute_t<T> cap) {
  constexpr int64_t kLanes = 16;
  double sums[kLanes] = {};
  const auto step = [&](int64_t i, int64_t lane) PLEAT_INLINE {
    const compute_t<T> g = dy[i], z = x[i];  // read before dx, which may be dy, is written
    sums[lane] += double{g} * double{z - clamp(z, cap)};
    dx[i] = T(z > 0 && z < cap ? g : alpha * g);
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) step(i + lane, lane);
  for (; i < n; ++i) step(i, 0);
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace

template <class T>
void alpha_act_forward(std::span<T> y, std::span<const T> x, compute_t<T> alpha, Nonlinearity s) {
  parallel_for(std::ssize(x), [&](int64_t begin, int64_t end, int) {
    const auto cap = cap_of<compute_t<T>>(s);
    dispatch([&](auto) PLEAT_INLINE { forward_part(y.data() + begin, x.data() + begin, end - begin, alpha, cap); });
  });
}

template <class T>
void alpha_act_backward(std::span<T> dx, compute_t<T>& dalpha, std::span<const T> dy, std::span<const T> x,
                        compute_t<T> alpha, Nonlinearity s) {
  dalpha += static_cast<compute_t<T>>(parallel_sum(std::ssize(x), [&](int64_t begin, int64_t end) {
    const auto cap = cap_of<compute_t<T>>(s);
    return dispatch([&](auto) PLEAT_INLINE {
      return backward_part(dx.data() + begin, dy.data() + begin, x.data() + begin, end - begin, alpha, cap);
    });
  }));
}

#define PLEAT_INSTANTIATE(T)                                                                               \
  template void alpha_act_forward<T>(std::span<T>, std::span<const T>, compute_t<T>, Nonlinearity);        \
  template void alpha_act_backward<T>(std::span<T>, compute_t<T>&, std::span<const T>, std::span<const T>, \
                                      compute_t<T>, Nonlinearity);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
