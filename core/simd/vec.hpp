// Vectors of GCC's vector extension, and what keeps the compiler from spoiling kernels made of them.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

/// For lambdas and functions that must become part of the function that calls them: code is compiled for an instruction
/// set only if it is inlined into the function that names the set (core/simd/instruction_set.hpp).
#define PLEAT_INLINE __attribute__((always_inline))

/// A loop over [0, count), count a constant up to 32, unrolled: an array of vectors stays in registers only if all its
/// indices are constants.
#define PLEAT_UNROLLED(i, count) _Pragma("GCC unroll 32") for (int64_t i = 0; i < (count); ++i)

// True where inline assembly may name x86-64 vector registers of any width. clang checks operands against the features
// of the function that holds the text, before it is inlined into one that has them, so it gets plain C++.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PLEAT_X86_ASSEMBLY 1
#else
#define PLEAT_X86_ASSEMBLY 0
#endif

namespace pleat {

template <class C, int64_t kLanes>
struct VecOf {
  using type [[gnu::vector_size(kLanes * sizeof(C))]] = C;
};
/// kLanes values of C (float, double, or an integer); kLanes is a power of two. Pass vectors by reference: how they are
/// passed by value depends on the instruction set that caller and callee are compiled for.
template <class C, int64_t kLanes>
using Vec = typename VecOf<C, kLanes>::type;

/// The number of lanes of a vector.
template <class V>
inline constexpr int64_t kWidthOf = sizeof(V) / sizeof(std::declval<V&>()[0]);

/// Makes the compiler hold v in a register from here on. GCC 12 otherwise reads a vector that several instructions use
/// from memory in each of them, and keeps more pointers than there are registers where several lie at multiples of one
/// distance.
template <class V>
PLEAT_INLINE inline void keep([[maybe_unused]] V& v) {
#if PLEAT_X86_ASSEMBLY
  if constexpr (std::is_pointer_v<V>)
    asm("" : "+r"(v));
  else if constexpr (sizeof(V) >= 16)
    asm("" : "+v"(v));
#endif
}

}  // namespace pleat
