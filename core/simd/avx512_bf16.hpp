// AVX-512 with BF16: instructions that round to bfloat16, and that multiply pairs of it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/simd/avx512.hpp"
#include "core/simd/bf16.hpp"

namespace pleat {

/// Tag; its members are what core/simd/generic.hpp and core/simd/avx512.hpp say.
struct Avx512Bf16 : Avx512 {
  static constexpr const char* kName = "avx512_bf16";
  template <class T>
  static constexpr bool kHasTileKernels = true;
  /// Kernels on other types are the same code for both sets, which is compiled once.
  template <class T>
  using For = std::conditional_t<std::is_same_v<T, Bf16>, Avx512Bf16, Avx512>;

  static bool is_supported() {
#if defined(__x86_64__)
    return Avx512::is_supported() && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
  }

  template <class Body>
#if defined(__x86_64__)
  [[gnu::target(
      "avx512f,avx512bw,avx512dq,avx512vl,fma")]]  // its own instructions are text: the compiler knows no more
#endif
  static auto
  run(const Body& body) {
    return body(Avx512Bf16());
  }

#if PLEAT_X86_ASSEMBLY
  /// bits = v, of 8 or 16 lanes, rounded to bfloat16. The CPU takes denormals for zeros.
  template <class Bits, class V>
  requires(sizeof(V) == 32 || sizeof(V) == 64) PLEAT_INLINE static void to_bf16(Bits& bits, const V& v) {
    asm("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(v));
  }
  /// bits = the lanes of v and then those of w, rounded to bfloat16.
  PLEAT_INLINE static void two_to_bf16(Vec<uint16_t, 32>& bits, const Floats& v, const Floats& w) {
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(bits) : "v"(v), "v"(w));
  }
  /// bits = min(max(bits, low), high), as signed 16-bit integers.
  PLEAT_INLINE static void clamp_int16(Vec<uint16_t, 32>& bits, const Vec<uint32_t, 16>& low,
                                       const Vec<uint32_t, 16>& high) {
    asm("vpmaxsw %1, %0, %0" : "+v"(bits) : "v"(low));
    asm("vpminsw %1, %0, %0" : "+v"(bits) : "v"(high));
  }
  /// sum += both products of each lane's pair of bfloat16 in a and in b.
  PLEAT_INLINE static void multiply_add_pairs(Floats& sum, const Vec<uint32_t, 16>& a, const Floats& b) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
  /// The same with one pair from memory for all lanes. GCC 12 would read the pair's neighbours with it and permute.
  PLEAT_INLINE static void multiply_add_pair(Floats& sum, const Bf16* a, const Floats& b) {
    asm("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(sum) : "m"(*reinterpret_cast<const Bf16(*)[2]>(a)), "v"(b));
  }
#endif
};

}  // namespace pleat
