// An activation as the last step of another kernel.
#pragma once

#include <limits>

#include "core/simd.hpp"

namespace pleat {

/// y = alpha*x + (1-alpha)*min(max(x,0), limit); alpha = 1 is none.
struct Activation {
  float alpha = 1, limit = std::numeric_limits<float>::infinity();
};

template <class V>
[[gnu::always_inline]] inline void activate(V& v, const Activation& act) {
  if (act.alpha == 1) return;
  const V zero{}, limit = zero + act.limit;
  V s = v > zero ? v : zero;
  s = s < limit ? s : limit;
  v = act.alpha == 0 ? s : act.alpha * v + (1 - act.alpha) * s;
}

}  // namespace pleat
