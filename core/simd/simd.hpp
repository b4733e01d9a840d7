// Operations on vectors (core/simd/vec.hpp) for kernels whose loops the compiler does not vectorise well by itself. Isa
// is the tag that dispatch() gives to the kernel (core/simd/instruction_set.hpp); where it has an instruction for an
// operation, that one is used, else plain C++ that gives the same result.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"
#include "core/simd/vec.hpp"

namespace pleat {

/// wide = bits, lane by lane.
template <class Isa, int64_t kLanes>
PLEAT_INLINE inline void widen(Vec<uint32_t, kLanes>& wide, const Vec<uint16_t, kLanes>& bits) {
  if constexpr (requires { Isa::widen(wide, bits); })
    Isa::widen(wide, bits);
  else
    wide = __builtin_convertvector(bits, Vec<uint32_t, kLanes>);
}

/// bits = v rounded to bfloat16. An instruction set's own conversion takes denormals for zeros.
template <class Isa, class V>
PLEAT_INLINE inline void round_to(Vec<uint16_t, kWidthOf<V>>& bits, const V& v) {
  if constexpr (requires { Isa::to_bf16(bits, v); }) {
    Isa::to_bf16(bits, v);
  } else {
    Vec<uint32_t, kWidthOf<V>> wide;
    std::memcpy(&wide, &v, sizeof wide);
    round_to_bf16(wide);
    bits = __builtin_convertvector(wide >> 16, Vec<uint16_t, kWidthOf<V>>);
  }
}

/// bits = the lanes of v and then those of w, rounded to bfloat16.
template <class Isa, class V>
PLEAT_INLINE inline void round_two(Vec<uint16_t, 2 * kWidthOf<V>>& bits, const V& v, const V& w) {
  if constexpr (requires { Isa::two_to_bf16(bits, v, w); }) {
    Isa::two_to_bf16(bits, v, w);
  } else {
    Vec<uint16_t, kWidthOf<V>> halves[2];
    round_to<Isa>(halves[0], v);
    round_to<Isa>(halves[1], w);
    std::memcpy(&bits, halves, sizeof bits);
  }
}

/// v = p[0..lanes), the other lanes zero, of values stored in the type that is computed in. `lanes` should be the
/// constant kWidthOf<V> where speed matters.
template <class V, class T>
requires std::is_same_v<T, compute_t<T>> PLEAT_INLINE inline void load(V& v, const T* p, int64_t lanes = kWidthOf<V>) {
  if (lanes < kWidthOf<V>) v = V{};
  std::memcpy(&v, p, lanes * sizeof(T));
}

/// The same of values stored in any type.
template <class Isa, class V, class T>
PLEAT_INLINE inline void load(V& v, const T* p, int64_t lanes = kWidthOf<V>) {
  if constexpr (std::is_same_v<T, Bf16>) {
    Vec<uint16_t, kWidthOf<V>> bits{};
    std::memcpy(&bits, p, lanes * sizeof(T));
    if constexpr (requires { Isa::from_bf16(v, bits); }) {
      Isa::from_bf16(v, bits);
    } else {
      Vec<uint32_t, kWidthOf<V>> wide;
      widen<Isa, kWidthOf<V>>(wide, bits);
      wide = wide << 16;
      std::memcpy(&v, &wide, sizeof v);
    }
  } else {
    load(v, p, lanes);
  }
}

/// p[0..lanes) = v, stored in the type that is computed in.
template <class V, class T>
requires std::is_same_v<T, compute_t<T>> PLEAT_INLINE inline void store(T* p, const V& v, int64_t lanes = kWidthOf<V>) {
  std::memcpy(p, &v, lanes * sizeof(T));
}

/// The same, stored in any type; rounds to the nearest.
template <class Isa, class V, class T>
PLEAT_INLINE inline void store(T* p, const V& v, int64_t lanes = kWidthOf<V>) {
  if constexpr (std::is_same_v<T, Bf16>) {
    Vec<uint16_t, kWidthOf<V>> bits;
    round_to<Isa>(bits, v);
    std::memcpy(p, &bits, lanes * sizeof(T));
  } else {
    store(p, v, lanes);
  }
}

/// p[0..2 lanes) = the lanes of v and then those of w.
template <class Isa, class V>
PLEAT_INLINE inline void store_two(Bf16* p, const V& v, const V& w) {
  Vec<uint16_t, 2 * kWidthOf<V>> bits;
  round_two<Isa>(bits, v, w);
  std::memcpy(p, &bits, sizeof bits);
}

/// Lane by lane: v stays where a < b, else becomes `otherwise`. By sign bits: GCC 12 takes apart, scalar by scalar,
/// what compares and selects in code that is compiled for several instruction sets.
template <class V>
PLEAT_INLINE inline void keep_where_less(V& v, const V& a, const V& b, const V& otherwise) {
  using C = std::remove_cvref_t<decltype(v[0])>;
  using Int = std::conditional_t<sizeof(C) == 4, int32_t, int64_t>;
  const V difference = a - b;
  Vec<Int, kWidthOf<V>> less, yes, no;
  std::memcpy(&less, &difference, sizeof less);
  std::memcpy(&yes, &v, sizeof yes);
  std::memcpy(&no, &otherwise, sizeof no);
  less = less >> (8 * sizeof(C) - 1);  // all ones or all zeros
  yes = (yes & less) | (no & ~less);
  std::memcpy(&v, &yes, sizeof v);
}

/// Lane by lane: v becomes `inside` where a < b < c.
template <class Isa, class V>
PLEAT_INLINE inline void take_between(V& v, const V& a, const V& b, const V& c, const V& inside) {
  if constexpr (requires { Isa::take_between(v, a, b, c, inside); }) {
    Isa::take_between(v, a, b, c, inside);
  } else {
    V taken = inside;
    keep_where_less(taken, a, b, v);
    keep_where_less(taken, b, c, v);
    v = taken;
  }
}

/// One register's bytes of activations of type T, in the type that is computed in. For float and double that is one
/// vector. For bfloat16 it is two, the even elements and then the odd ones, which one shift or mask unpacks.
template <class T, class Isa>
struct Registers {
  using C = compute_t<T>;
  using V = Vec<C, Isa::kBytes / sizeof(C)>;
  using Bits = Vec<uint32_t, Isa::kBytes / sizeof(uint32_t)>;
  static constexpr int64_t kParts = std::is_same_v<T, Bf16> ? 2 : 1, kPart = kWidthOf<V>, kCount = kParts * kPart;

  V part[kParts];

  PLEAT_INLINE static void load_part(V& to, const T* from, int64_t part) {
    std::memcpy(&to, from, Isa::kBytes);
    if constexpr (kParts == 2) {
      Bits bits;
      std::memcpy(&bits, &to, Isa::kBytes);
      bits = part == 0 ? bits << 16 : bits & 0xffff0000;
      std::memcpy(&to, &bits, Isa::kBytes);
    }
  }
  PLEAT_INLINE void store(T* to) const {
    if constexpr (kParts == 1) {
      std::memcpy(to, part, Isa::kBytes);
    } else {
      Vec<uint16_t, kPart> rounded[2];
      Bits bits, odd;
      round_to<Isa>(rounded[0], part[0]);
      round_to<Isa>(rounded[1], part[1]);
      widen<Isa, kPart>(bits, rounded[0]);
      widen<Isa, kPart>(odd, rounded[1]);
      bits |= odd << 16;
      std::memcpy(to, &bits, Isa::kBytes);
    }
  }
};

}  // namespace pleat
