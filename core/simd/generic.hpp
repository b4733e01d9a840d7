// The instruction set that every CPU has.
#pragma once

#include "core/simd/vec.hpp"

namespace pleat {

/// Tag: what the compiler may use without being told more; on x86-64 that is SSE2.
struct Generic {
  static constexpr const char* kName = "generic";
  static constexpr int kBytes = 16;      ///< Of a vector register.
  static constexpr int kRegisters = 16;  ///< How many of them there are.
  /// Whether the kernels that keep tiles of sums in registers are compiled for values of type T.
  template <class T>
  static constexpr bool kHasTileKernels = false;
  /// The set that kernels on values of type T are compiled for when this one is in use.
  template <class T>
  using For = Generic;

  static bool is_supported() { return true; }

  /// Runs body(Generic()), compiled for this instruction set.
  template <class Body>
  static auto run(const Body& body) {
    return body(Generic());
  }
};

}  // namespace pleat
