// Sixteen lanes at once, in GCC's vector extension: for kernels whose loops the compiler does not vectorise well by
// itself. To be used in functions marked PLEAT_SIMD (core/parallel.hpp), which compile the lanes to whatever registers
// an instruction set has. Vectors are passed by reference: by value their ABI would depend on the instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/bf16.hpp"

namespace pleat {

inline constexpr int64_t kLanes = 16;

template <class C, int64_t kWidth>
struct VecOf {
  using type [[gnu::vector_size(kWidth * sizeof(C))]] = C;
};
/// Sixteen, or another power of two, of C: float, double, or an integer.
template <class C, int64_t kWidth = kLanes>
using Vec = typename VecOf<C, kWidth>::type;

/// Lanes of a vector.
template <class V>
inline constexpr int64_t kWidthOf = sizeof(V) / sizeof(std::declval<V&>()[0]);

/// v = p[0..lanes), the rest zero. `lanes` should be the constant kWidthOf<V> where speed matters.
template <class V, class T>
[[gnu::always_inline]] inline void load(V& v, const T* p, int64_t lanes = kWidthOf<V>) {
  if constexpr (std::is_same_v<T, Bf16>) {
    Vec<uint16_t, kWidthOf<V>> bits{};
    std::memcpy(&bits, p, lanes * sizeof(T));
    const auto wide = __builtin_convertvector(bits, Vec<uint32_t, kWidthOf<V>>) << 16;
    std::memcpy(&v, &wide, sizeof v);
  } else {
    if (lanes < kWidthOf<V>) v = V{};
    std::memcpy(&v, p, lanes * sizeof(T));
  }
}

/// p[0..lanes) = v.
template <class V, class T>
[[gnu::always_inline]] inline void store(T* p, const V& v, int64_t lanes = kWidthOf<V>) {
  if constexpr (std::is_same_v<T, Bf16>) {
    Vec<uint32_t, kWidthOf<V>> u;
    std::memcpy(&u, &v, sizeof u);
    const Vec<uint32_t, kWidthOf<V>> rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16, nan = (u >> 16) | 0x40;
    const auto bits =
        __builtin_convertvector((u & 0x7fffffff) > 0x7f800000 ? nan : rounded, Vec<uint16_t, kWidthOf<V>>);
    std::memcpy(p, &bits, lanes * sizeof(T));
  } else {
    std::memcpy(p, &v, lanes * sizeof(T));
  }
}

/// Lane by lane: v stays where a < b, else becomes `otherwise`. By sign bits: GCC 12 takes apart, scalar by scalar,
/// what compares and selects in functions compiled for several instruction sets.
template <class V, class A, class B>
[[gnu::always_inline]] inline void keep_where_less(V& v, const A& a, const B& b, const V& otherwise) {
  using C = std::remove_cvref_t<decltype(v[0])>;
  using Int = std::conditional_t<sizeof(C) == 4, int32_t, int64_t>;
  const V difference = a - b;
  Vec<Int> less, yes, no;
  std::memcpy(&less, &difference, sizeof less);
  std::memcpy(&yes, &v, sizeof yes);
  std::memcpy(&no, &otherwise, sizeof no);
  less = less >> (8 * sizeof(C) - 1);  // all ones or all zeros
  yes = (yes & less) | (no & ~less);
  std::memcpy(&v, &yes, sizeof v);
}

}  // namespace pleat
