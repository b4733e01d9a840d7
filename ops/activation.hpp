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

/// Stores act(v[i]) to place(i) for all i. Each `kTogether` places in turn are contiguous. 512-bit registers are
/// rounded to bfloat16 two at a time and clamped afterwards as integers, which are in the same order as the numbers
/// where those are positive. That takes half the instructions, but a NaN counts as a number of its sign beyond all
/// others. kNative is explained at round_to.
template <int kTogether, bool kNative = false, class V, int64_t n, class Place>
[[gnu::always_inline]] inline void store_activated(V (&v)[n], Activation act, const Place& place) {
  // Made from `act` here, and not before the loop that calls this, whose sums then no longer fit the registers.
  asm volatile("" : "+m"(act));
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  // As text for the reason that round_to gives, and because GCC 12 would compare and mask.
  if constexpr (std::is_same_v<decltype(place(0)), Bf16*> && sizeof(V) == 64) {
    using Half = Vec<uint16_t, 16>;
    using Bounds = Vec<uint32_t, 16>;
    if (act.alpha != 0) [[unlikely]]
      activate(v, act);
    const bool clamps = act.alpha == 0;
    const Bounds low = Bounds{} + (clamps ? 0 : 0x80008000u);
    const Bounds high = Bounds{} + (clamps ? Bf16(act.limit).bits * 0x10001u : 0x7fff7fffu);
    PLEAT_UNROLLED(i, n) if (i % 2 == 0) {
      const bool is_last = i + 1 == n;
      Vec<uint16_t, 32> two;
      round_two(two, v[i], v[is_last ? i : i + 1]);
      asm("vpmaxsw %1, %0, %0" : "+v"(two) : "v"(low));
      asm("vpminsw %1, %0, %0" : "+v"(two) : "v"(high));
      if (!is_last && (i + 1) % kTogether > 0) {
        std::memcpy(place(i), &two, sizeof two);
      } else {
        std::memcpy(place(i), &two, sizeof(Half));
        const Half other =
            __builtin_shufflevector(two, two, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
        if (!is_last) std::memcpy(place(i + 1), &other, sizeof other);
      }
    }
    return;
  }
#endif
  activate(v, act);
  PLEAT_UNROLLED(i, n) store<kNative>(place(i), v[i]);
}

}  // namespace pleat
