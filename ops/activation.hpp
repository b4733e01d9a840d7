// An activation as the epilogue of another kernel, applied to its sums while these are in registers. Only clamps can be
// (core/nonlinearity.hpp); others are a pass of their own.
#pragma once

#include <cstring>
#include <limits>
#include <type_traits>

#include "core/simd/simd.hpp"

namespace pleat {

/// y = alpha*x + (1-alpha)*min(max(x,0), limit), the alpha form of a clamp. With alpha = 1 there is no activation.
struct Activation {
  float alpha = 1, limit = std::numeric_limits<float>::infinity();
};

/// Applies `act` to all of `v` at once, so that what depends on `act` is chosen once.
template <class V, int64_t n>
PLEAT_INLINE inline void activate(V (&v)[n], const Activation act) {
  if (act.alpha == 1) return;
  V zero{}, limit = zero + act.limit;
  keep(zero);  // GCC 12 would compare and mask where a maximum does
  const auto clamped = [&](V& s, const V& x) PLEAT_INLINE {
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
PLEAT_INLINE inline void activate(V& v, const Activation& act) {
  V one[1] = {v};
  activate(one, act);
  v = one[0];
}

/// Stores act(v[i]) to place(i) for all i. Each `kTogether` places in turn are contiguous. Where the instruction set
/// allows it, vectors are rounded to bfloat16 two at a time and clamped afterwards as integers, which are in the same
/// order as the numbers where those are positive. That takes half the instructions, but a NaN counts as a number of its
/// sign beyond all others.
template <int kTogether, class Isa, class V, int64_t n, class Place>
PLEAT_INLINE inline void store_activated(V (&v)[n], Activation act, const Place& place) {
  // Made from `act` here, and not before the loop that calls this, whose sums then no longer fit the registers.
  asm volatile("" : "+m"(act));
  using Two = Vec<uint16_t, 2 * kWidthOf<V>>;
  using Bounds = Vec<uint32_t, kWidthOf<V>>;
  if constexpr (std::is_same_v<decltype(place(0)), Bf16*> &&
                requires(Two & two, const Bounds& bound) { Isa::clamp_int16(two, bound, bound); }) {
    using Half = Vec<uint16_t, 16>;
    if (act.alpha != 0) [[unlikely]]
      activate(v, act);
    const bool clamps = act.alpha == 0;
    const Bounds low = Bounds{} + (clamps ? 0 : 0x80008000u);
    const Bounds high = Bounds{} + (clamps ? Bf16(act.limit).bits * 0x10001u : 0x7fff7fffu);
    PLEAT_UNROLLED(i, n) if (i % 2 == 0) {
      const bool is_last = i + 1 == n;
      Two two;
      round_two<Isa>(two, v[i], v[is_last ? i : i + 1]);
      Isa::clamp_int16(two, low, high);
      if (!is_last && (i + 1) % kTogether > 0) {
        std::memcpy(place(i), &two, sizeof two);
      } else {
        std::memcpy(place(i), &two, sizeof(Half));
        const Half other =
            __builtin_shufflevector(two, two, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
        if (!is_last) std::memcpy(place(i + 1), &other, sizeof other);
      }
    }
  } else {
    activate(v, act);
    PLEAT_UNROLLED(i, n) store<Isa>(place(i), v[i]);
  }
}

}  // namespace pleat
