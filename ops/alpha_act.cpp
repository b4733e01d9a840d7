#include "ops/alpha_act.hpp"

#include "core/parallel.hpp"
#include "core/parallel_sum.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/nonlinearity.hpp"

namespace pleat {
namespace {

template <class Isa, class F, class T>
PLEAT_INLINE inline void forward_part(T* y, const T* x, int64_t n, const AlphaParams<compute_t<T>>& params) {
  using C = compute_t<T>;
  const AlphaForm<Isa, F, C> act(params);
  for (int64_t i = 0; i < n; ++i) {
    C value;
    act.forward(value, C(x[i]));
    y[i] = T(value);
  }
}

// Returns the sum of dy * (x - s(x)). It is added up in lanes, which lets the compiler vectorise it in a fixed order.
template <class Isa, class F, class T>
PLEAT_INLINE inline double backward_part(T* dx, const T* dy, const T* x, int64_t n,
                                         const AlphaParams<compute_t<T>>& params) {
  using C = compute_t<T>;
  constexpr int64_t kLanes = 16;
  const AlphaForm<Isa, F, C> act(params);
  double sums[kLanes] = {};
  const auto step = [&](int64_t i, int64_t lane) PLEAT_INLINE {
    const C g = dy[i], z = x[i];  // read before dx, which may be dy, is written
    C gradient = g, rest;
    act.backward(gradient, rest, z);
    sums[lane] += double{g} * double{rest};
    dx[i] = T(gradient);
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
  const auto params = alpha_params(s, alpha);
  with_formula(s, [&]<class F>(F) {
    parallel_for(std::ssize(x), [&](int64_t begin, int64_t end, int) {
      dispatch([&]<class Isa>(Isa)
                   PLEAT_INLINE { forward_part<Isa, F>(y.data() + begin, x.data() + begin, end - begin, params); });
    });
  });
}

template <class T>
void alpha_act_backward(std::span<T> dx, compute_t<T>& dalpha, std::span<const T> dy, std::span<const T> x,
                        compute_t<T> alpha, Nonlinearity s) {
  const auto params = alpha_params(s, alpha);
  with_formula(s, [&]<class F>(F) {
    const double sum = parallel_sum(std::ssize(x), [&](int64_t begin, int64_t end) {
      return dispatch([&]<class Isa>(Isa) PLEAT_INLINE {
        return backward_part<Isa, F>(dx.data() + begin, dy.data() + begin, x.data() + begin, end - begin, params);
      });
    });
    dalpha += static_cast<compute_t<T>>(params.dalpha * sum);
  });
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
