// Multiplications lane by lane, of float or of pairs of bfloat16: what tile_product, outer_product and winograd_bf16
// are made of (private to them).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/simd/bf16.hpp"
#include "core/simd/simd.hpp"

namespace pleat {

/// Factors that one lane of a vector holds.
template <class T>
inline constexpr int64_t kLaneWeights = std::is_same_v<T, Bf16> ? 2 : 1;

// A factor of all lanes: one activation, or for bfloat16 a pair of them.
template <class V>
PLEAT_INLINE inline float spread(const float* from) {
  return *from;
}
template <class V>
PLEAT_INLINE inline auto spread(const Bf16* from) {
  uint32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  return std::array{Vec<uint32_t, kWidthOf<V>>{} + pair};
}

// sum += a * b; for bfloat16 each lane holds a pair, whose products are both added.
template <class Isa, class V>
PLEAT_INLINE inline void multiply_add(V& sum, float a, const V& b) {
  sum += a * b;
}
template <class Isa, class V>
PLEAT_INLINE inline void multiply_add(V& sum, const std::array<V, 1>& a, const V& b) {
  sum += a[0] * b;
}
template <class Isa, class V, class Bits>
PLEAT_INLINE inline void multiply_add(V& sum, const Bits& a, const V& b) {
  if constexpr (requires { Isa::multiply_add_pairs(sum, a[0], b); }) {
    Isa::multiply_add_pairs(sum, a[0], b);
  } else {
    auto b_bits = a[0];
    std::memcpy(&b_bits, &b, sizeof b);
    const auto a_low = a[0] << 16, a_high = a[0] & 0xffff0000, b_low = b_bits << 16, b_high = b_bits & 0xffff0000;
    V factor[4];
    std::memcpy(&factor[0], &a_low, sizeof sum);
    std::memcpy(&factor[1], &b_low, sizeof sum);
    std::memcpy(&factor[2], &a_high, sizeof sum);
    std::memcpy(&factor[3], &b_high, sizeof sum);
    sum += factor[0] * factor[1] + factor[2] * factor[3];
  }
}

// The same with a pair from memory that one product alone needs.
template <class Isa, class V>
PLEAT_INLINE inline void multiply_add(V& sum, const Bf16* a, const V& b) {
  if constexpr (requires { Isa::multiply_add_pair(sum, a, b); })
    Isa::multiply_add_pair(sum, a, b);
  else
    multiply_add<Isa>(sum, spread<V>(a), b);
}

}  // namespace pleat
