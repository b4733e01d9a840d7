// bfloat16: the upper half of a float, with 8 bits of precision. A way to store activations, never to compute: kernels
// load it to float, and round what they store.
#pragma once

#include <bit>
#include <cstdint>

namespace pleat {

struct Bf16 {
  uint16_t bits;

  Bf16() = default;
  /// To the nearest, ties to even; a NaN stays one. Written without branches, so that loops of it vectorise.
  Bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    bits = static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded);
  }
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// What activations are stored as.
enum class Dtype { f32, bf16 };

/// True where the CPU multiplies bf16 (AVX512-BF16, AMX): elsewhere it would be slower than f32.
bool cpu_has_bf16();

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
