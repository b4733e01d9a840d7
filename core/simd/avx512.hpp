// AVX-512: 32 registers of 16 floats.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/simd/avx2.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/vec.hpp"

namespace pleat {

/// Tag; its members are what core/simd/generic.hpp says. Where it has an instruction for one of the operations of
/// core/simd/simd.hpp, that operation uses it. They are written as text, because the compiler's own functions for them
/// (intrinsics) cannot be called from code that is compiled for several instruction sets.
struct Avx512 {
  static constexpr const char* kName = "avx512";
  static constexpr int kBytes = 64;
  static constexpr int kRegisters = 32;
  template <class T>
  static constexpr bool kHasTileKernels = !std::is_same_v<T, Bf16>;
  /// Without instructions for bfloat16, narrower registers are as fast, and need no third build of every kernel.
  template <class T>
  using For = std::conditional_t<std::is_same_v<T, Bf16>, Avx2, Avx512>;

  static bool is_supported() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
  }

  template <class Body>
#if defined(__x86_64__)
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma")]]
#endif
  static auto
  run(const Body& body) {
    return body(Avx512());
  }

#if PLEAT_X86_ASSEMBLY
  using Floats = Vec<float, 16>;

  // GCC 12 knows of this instruction for 512-bit registers, but converts by halves.
  PLEAT_INLINE static void widen(Vec<uint32_t, 16>& wide, const Vec<uint16_t, 16>& bits) {
    asm("vpmovzxwd %1, %0" : "=v"(wide) : "v"(bits));
  }
  // One instruction instead of two.
  PLEAT_INLINE static void from_bf16(Floats& v, const Vec<uint16_t, 16>& bits) {
    const Vec<uint16_t, 32> upper_halves = {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                                            0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
    asm("vpermw %g1, %2, %0%{%3%}%{z%}" : "=v"(v) : "v"(bits), "v"(upper_halves), "Yk"(0xaaaaaaaau));
  }
  // Two comparisons and a move, where signs take nine instructions.
  PLEAT_INLINE static void take_between(Floats& v, const Floats& a, const Floats& b, const Floats& c,
                                        const Floats& inside) {
    asm("vcmpltps %[b], %[a], %%k1\n\tvcmpltps %[c], %[b], %%k1%{%%k1%}\n\tvmovaps %[inside], %[v]%{%%k1%}"
        : [v] "+v"(v)
        : [a] "v"(a), [b] "v"(b), [c] "v"(c), [inside] "v"(inside)
        : "k1");
  }
#endif
};

}  // namespace pleat
