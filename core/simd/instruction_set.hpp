// How a kernel is written once and compiled for every instruction set.
//
// An instruction set is a tag type in a file of its own (avx2.hpp, avx512.hpp, ...). The tag says how wide its
// registers are, how many there are, and whether this CPU has them; its function run() compiles whatever is inlined
// into it for that set. A kernel is a lambda that takes the tag, and dispatch() runs the copy for the set in use:
//
//     void scale(float* y, const float* x, float a, int64_t n) {    // n is a multiple of 16
//       dispatch([&]<class Isa>(Isa) PLEAT_INLINE {
//         using V = Vec<float, Isa::kBytes / sizeof(float)>;        // one register of whatever set this is
//         for (int64_t i = 0; i < n; i += kWidthOf<V>) {
//           V v;
//           load(v, x + i);                                         // core/simd/simd.hpp
//           v *= a;
//           store(y + i, v);
//         }
//       });
//     }
//
// The compiler makes one copy of the lambda for each set of InstructionSets, each inside that set's run(). For this the
// lambda must be PLEAT_INLINE, and so must every function that it calls: what is not inlined is compiled for the
// baseline, and is correct but slow. A loop that the compiler vectorises by itself needs no vectors: put the plain loop
// into the lambda and ignore the tag. Inside a kernel ask the tag, never the width of a vector: registers of 64 bytes
// do not say that the CPU multiplies bfloat16.
//
// The set in use is chosen once, the best one that this CPU has unless the environment variable PLEAT_ISA names
// another. To add a set, write its file and add it to InstructionSets below.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

#include "core/simd/avx2.hpp"
#include "core/simd/avx512.hpp"
#include "core/simd/avx512_bf16.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/generic.hpp"

namespace pleat {

/// All instruction sets that kernels are compiled for, the best one first. The last one runs everywhere.
#if defined(__x86_64__)
using InstructionSets = std::tuple<Avx512Bf16, Avx512, Avx2, Generic>;
#else
using InstructionSets = std::tuple<Generic>;
#endif

/// The instruction set that kernels use in this process.
struct InstructionSetInUse {
  std::string name, best;                     ///< `best` is what this CPU offers.
  bool is_overridden;                         ///< True if PLEAT_ISA named it.
  std::vector<std::string> choices, missing;  ///< Those that this CPU has, the best one first, and those it lacks.
};

/// Chooses the instruction set if none has been chosen yet, and describes it. Throws std::invalid_argument if PLEAT_ISA
/// names one that is unknown or that this CPU lacks. Programs call it first, because a kernel that runs on several
/// threads could not report the error.
InstructionSetInUse instruction_set();

/// True where the CPU multiplies bfloat16, whatever PLEAT_ISA says: elsewhere training and inference in it would be
/// slower than in f32.
bool cpu_has_bf16();

namespace detail {

/// Index into InstructionSets of the set in use; negative until one is chosen.
inline constinit std::atomic<int> chosen_instruction_set = -1;
int choose_instruction_set();

template <class T, std::size_t kIndex, class Function>
PLEAT_INLINE inline auto visit_from(int chosen, const Function& function) {
  using Isa = typename std::tuple_element_t<kIndex, InstructionSets>::template For<T>;
  if constexpr (kIndex + 1 == std::tuple_size_v<InstructionSets>) {
    return function(Isa());
  } else {
    if (chosen == kIndex) return function(Isa());
    return visit_from<T, kIndex + 1>(chosen, function);
  }
}

}  // namespace detail

/// What function(tag) returns for the tag of the set in use for values of type T. Unlike in dispatch(), the function is
/// not compiled for that set: it may only ask the tag.
template <class T, class Function>
PLEAT_INLINE inline auto visit_instruction_set(const Function& function) {
  int chosen = detail::chosen_instruction_set.load(std::memory_order_relaxed);
  if (chosen < 0) [[unlikely]]
    chosen = detail::choose_instruction_set();
  return detail::visit_from<T, 0>(chosen, function);
}

/// Runs body(tag), compiled for the instruction set in use, and returns what it returns. T is the type whose own
/// instructions the body may ask the tag for; float if it needs none.
template <class T = float, class Body>
auto dispatch(const Body& body) {
  return visit_instruction_set<T>([&]<class Isa>(Isa) PLEAT_INLINE { return Isa::run(body); });
}

/// True if the set in use runs the kernels that keep tiles of sums in registers (matrix products, Winograd's algorithm,
/// the fused inverted residual) on values of type T. These are not compiled for the other sets; there, oneDNN or a
/// plain kernel does their work.
template <class T>
bool has_tile_kernels() {
  return visit_instruction_set<T>([]<class Isa>(Isa) { return Isa::template kHasTileKernels<T>; });
}
inline bool has_tile_kernels(Dtype dtype) {
  return dtype == Dtype::f32 ? has_tile_kernels<float>() : has_tile_kernels<Bf16>();
}

[[noreturn]] void throw_no_tile_kernels();

/// dispatch() for these kernels. Throws std::logic_error unless has_tile_kernels<T>().
template <class T, class Body>
void dispatch_tiles(const Body& body) {
  visit_instruction_set<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    if constexpr (Isa::template kHasTileKernels<T>)
      Isa::run(body);
    else
      throw_no_tile_kernels();
  });
}

}  // namespace pleat
