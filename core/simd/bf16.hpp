// bfloat16: the upper half of a float, with 8 bits of precision. A way to store activations, never to compute: kernels
// load it to float, and round what they store.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace pleat {

/// Changes the bits of a float, or of each of a vector of them, such that their upper half is the nearest bfloat16,
/// ties to even; a NaN stays one. Without branches, so that loops of it vectorise.
template <class Bits>
[[gnu::always_inline]] inline void round_to_bf16(Bits& bits) {
  const Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);
  bits = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded;
}

struct Bf16 {
  uint16_t bits;

  Bf16() = default;
  Bf16(float value) {
    uint32_t float_bits = std::bit_cast<uint32_t>(value);
    round_to_bf16(float_bits);
    bits = static_cast<uint16_t>(float_bits >> 16);
  }
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// What activations are stored as.
enum class Dtype { f32, bf16 };

/// The Dtype of values of type T.
template <class T>
inline constexpr Dtype kDtypeOf = std::is_same_v<T, Bf16> ? Dtype::bf16 : Dtype::f32;

/// What a kernel on values of type T computes in.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<Bf16> {
  using type = float;
};
template <class T>
using compute_t = typename ComputeType<T>::type;

}  // namespace pleat
