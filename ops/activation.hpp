// An activation as the last step of another kernel.
#pragma once

#include <limits>

#include "core/simd.hpp"

namespace pleat {

/// y = alpha*x + (1-alpha)*min(max(x,0), limit); alpha = 1 is none.
struct Activation {
  float alpha = 1, limit = std::numeric_limits<float>::infinity();
};

/// Of all of `v` at once: what is chosen by `act` is chosen once.
template <class V, int64_t n>
[[gnu::always_inline]] inline void activate(V (&v)[n], const Activation act) {
  if (act.alpha == 1) return;
  V zero{}, limit = zero + act.limit;
  keep(zero);  // GCC 12 would compare and mask where a maximum does
  const auto clamped = [&](V & s, const V& x) __attribute__((always_inline)) {
    s = zero > x ? zero : x;
    s = limit < s ? limit : s;
  };
  if (act.alpha == 0) {
    PLEAT_UNROLLED(i, n) clamped(v[i], v[i]);
  } else {
    V s;
    PLEAT_UNROLLED(i, n) {
      clamped(s, v[i]);
      v[i] = act.alpha * v[i] + (1 - act.alpha) * s;
    }
  }
}
template <class V>
[[gnu::always_inline]] inline void activate(V& v, const Activation& act) {
  V one[1] = {v};
  activate(one, act);
  v = one[0];
}

}  // namespace pleat
