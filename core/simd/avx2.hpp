// AVX2: 16 registers of 8 floats, and multiply-add in one instruction.
#pragma once

#include <type_traits>

#include "core/simd/bf16.hpp"
#include "core/simd/vec.hpp"

namespace pleat {

/// Tag; its members are what core/simd/generic.hpp says.
struct Avx2 {
  static constexpr const char* kName = "avx2";
  static constexpr int kBytes = 32;
  static constexpr int kRegisters = 16;
  template <class T>
  static constexpr bool kHasTileKernels = !std::is_same_v<T, Bf16>;  // it does not multiply bfloat16
  template <class T>
  using For = Avx2;

  static bool is_supported() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
  }

  template <class Body>
#if defined(__x86_64__)
  [[gnu::target("avx2,fma")]]
#endif
  static auto
  run(const Body& body) {
    return body(Avx2());
  }
};

}  // namespace pleat
