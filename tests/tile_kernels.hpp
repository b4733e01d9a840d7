// For tests of the kernels that keep tiles of sums in registers, which not every instruction set has.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "core/simd/instruction_set.hpp"

namespace pleat::testing {

/// True, and says so, if the instruction set in use has no tile kernels for values of type T.
template <class T>
bool lacks_tile_kernels() {
  const bool lacks = !has_tile_kernels<T>();
  if (lacks)
    MESSAGE("skipped: instruction set " << instruction_set().name << " has no tile kernels for "
                                        << std::string(kDtypeOf<T> == Dtype::bf16 ? "bf16" : "f32"));
  return lacks;
}

}  // namespace pleat::testing
