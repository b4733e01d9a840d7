// Lanes of GCC's vector extension: for kernels whose loops the compiler does not vectorise well by itself, in bodies of
// with_registers, which compiles them for registers of each instruction set. (Loops that it does vectorise need no more
// than PLEAT_SIMD, core/simd/target_clones.hpp.) Vectors are passed by reference: by value their ABI would depend on
// the instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/simd/bf16.hpp"

namespace pleat {

template <class C, int64_t kWidth>
struct VecOf {
  using type [[gnu::vector_size(kWidth * sizeof(C))]] = C;
};
/// A power of two of C: float, double, or an integer.
template <class C, int64_t kWidth>
using Vec = typename VecOf<C, kWidth>::type;

/// Lanes of a vector.
template <class V>
inline constexpr int64_t kWidthOf = sizeof(V) / sizeof(std::declval<V&>()[0]);

/// wide = bits. GCC 12 knows of the instruction for 512-bit registers, but converts by halves.
template <int64_t kLanes>
[[gnu::always_inline]] inline void widen(Vec<uint32_t, kLanes>& wide, const Vec<uint16_t, kLanes>& bits) {
#if defined(__x86_64__)
  if constexpr (kLanes == 16) {
    asm("vpmovzxwd %1, %0" : "=v"(wide) : "v"(bits));
    return;
  }
#endif
  wide = __builtin_convertvector(bits, Vec<uint32_t, kLanes>);
}

/// v = p[0..lanes), the rest zero. `lanes` should be the constant kWidthOf<V> where speed matters.
template <class V, class T>
[[gnu::always_inline]] inline void load(V& v, const T* p, int64_t lanes = kWidthOf<V>) {
  if constexpr (std::is_same_v<T, Bf16>) {
    Vec<uint16_t, kWidthOf<V>> bits{};
    std::memcpy(&bits, p, lanes * sizeof(T));
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    if constexpr (kWidthOf<V> == 16) {  // one instruction instead of two
      const Vec<uint16_t, 32> upper_halves = {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                                              0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
      asm("vpermw %g1, %2, %0%{%3%}%{z%}" : "=v"(v) : "v"(bits), "v"(upper_halves), "Yk"(0xaaaaaaaau));
      return;
    }
#endif
    Vec<uint32_t, kWidthOf<V>> wide;
    widen<kWidthOf<V>>(wide, bits);
    wide = wide << 16;
    std::memcpy(&v, &wide, sizeof v);
  } else {
    if (lanes < kWidthOf<V>) v = V{};
    std::memcpy(&v, p, lanes * sizeof(T));
  }
}

/// bits = v as bfloat16, by the CPU's own instruction if `kNative`, which takes denormals for zeros. 512-bit registers
/// may always: with_registers<Bf16> takes them on CPUs that have it alone.
template <bool kNative = false, class V>
[[gnu::always_inline]] inline void round_to(Vec<uint16_t, kWidthOf<V>>& bits, const V& v) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  // As text: the compiler's own function for it cannot be called from what is compiled for several instruction sets.
  if constexpr (kNative || sizeof(V) == 64) {
    asm("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(v));
    return;
  }
#endif
  Vec<uint32_t, kWidthOf<V>> wide;
  std::memcpy(&wide, &v, sizeof wide);
  round_to_bf16(wide);
  bits = __builtin_convertvector(wide >> 16, Vec<uint16_t, kWidthOf<V>>);
}

/// p[0..lanes) = v; kNative as in round_to.
template <bool kNative = false, class V, class T>
[[gnu::always_inline]] inline void store(T* p, const V& v, int64_t lanes = kWidthOf<V>) {
  if constexpr (std::is_same_v<T, Bf16>) {
    Vec<uint16_t, kWidthOf<V>> bits;
    round_to<kNative>(bits, v);
    std::memcpy(p, &bits, lanes * sizeof(T));
  } else {
    std::memcpy(p, &v, lanes * sizeof(T));
  }
}

/// bits = the lanes of v, then those of w, as bfloat16; 512-bit registers by one instruction, as round_to does.
template <class V>
[[gnu::always_inline]] inline void round_two(Vec<uint16_t, 2 * kWidthOf<V>>& bits, const V& v, const V& w) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if constexpr (sizeof(V) == 64) {
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(bits) : "v"(v), "v"(w));
    return;
  }
#endif
  Vec<uint16_t, kWidthOf<V>> halves[2];
  round_to(halves[0], v);
  round_to(halves[1], w);
  std::memcpy(&bits, halves, sizeof bits);
}

/// p[0..2 lanes) = the lanes of v, then those of w.
template <class V>
[[gnu::always_inline]] inline void store_two(Bf16* p, const V& v, const V& w) {
  Vec<uint16_t, 2 * kWidthOf<V>> bits;
  round_two(bits, v, w);
  std::memcpy(p, &bits, sizeof bits);
}

/// Lane by lane: v stays where a < b, else becomes `otherwise`. By sign bits: GCC 12 takes apart, scalar by scalar,
/// what compares and selects in functions compiled for several instruction sets.
template <class V>
[[gnu::always_inline]] inline void keep_where_less(V& v, const V& a, const V& b, const V& otherwise) {
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
template <class V>
[[gnu::always_inline]] inline void take_between(V& v, const V& a, const V& b, const V& c, const V& inside) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  // As text for the same reason: two comparisons and a move, where signs take nine.
  if constexpr (sizeof(V) == 64 && sizeof(v[0]) == 4) {
    asm("vcmpltps %[b], %[a], %%k1\n\tvcmpltps %[c], %[b], %%k1%{%%k1%}\n\tvmovaps %[inside], %[v]%{%%k1%}"
        : [v] "+v"(v)
        : [a] "v"(a), [b] "v"(b), [c] "v"(c), [inside] "v"(inside)
        : "k1");
    return;
  }
#endif
  V taken = inside;
  keep_where_less(taken, a, b, v);
  keep_where_less(taken, b, c, v);
  v = taken;
}

/// v is in a register from here on. GCC 12 reads a vector that several instructions use from memory in each of them,
/// and of several pointers at multiples of a distance keeps more than there are registers.
template <class V>
[[gnu::always_inline]] inline void keep(V& v) {
#if defined(__x86_64__)
  if constexpr (std::is_pointer_v<V>)
    asm("" : "+r"(v));
  else if constexpr (sizeof(V) >= 16)
    asm("" : "+v"(v));
#endif
}

/// A loop over [0, count), count a constant up to 32, unrolled: an array of vectors is kept in registers only if all
/// its indices are constants.
#define PLEAT_UNROLLED(i, count) _Pragma("GCC unroll 32") for (int64_t i = 0; i < (count); ++i)

/// kBytes of activations of type T, in the type that is computed in: one register of kBytes, of bfloat16 two, the even
/// elements and then the odd ones, which one shift or mask unpacks.
template <class T, int kBytes>
struct Registers {
  using C = compute_t<T>;
  using V = Vec<C, kBytes / sizeof(C)>;
  using Bits = Vec<uint32_t, kBytes / sizeof(uint32_t)>;
  static constexpr int64_t kParts = std::is_same_v<T, Bf16> ? 2 : 1, kPart = kWidthOf<V>, kCount = kParts * kPart;

  V part[kParts];

  [[gnu::always_inline]] static void load_part(V& to, const T* from, int64_t part) {
    std::memcpy(&to, from, kBytes);
    if constexpr (kParts == 2) {
      Bits bits;
      std::memcpy(&bits, &to, kBytes);
      bits = part == 0 ? bits << 16 : bits & 0xffff0000;
      std::memcpy(&to, &bits, kBytes);
    }
  }
  [[gnu::always_inline]] void store(T* to) const {
    if constexpr (kParts == 1) {
      std::memcpy(to, part, kBytes);
    } else {
      Vec<uint16_t, kPart> rounded[2];
      Bits bits, odd;
      round_to(rounded[0], part[0]);
      round_to(rounded[1], part[1]);
      widen<kPart>(bits, rounded[0]);
      widen<kPart>(odd, rounded[1]);
      bits |= odd << 16;
      std::memcpy(to, &bits, kBytes);
    }
  }
};

#if defined(__x86_64__)
inline bool has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return has;
}
inline bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}
template <class Body>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma")]] void with_avx512(const Body& body) {
  body(std::integral_constant<int, 64>());
}
template <class Body>
[[gnu::target("avx2,fma")]] void with_avx2(const Body& body) {
  body(std::integral_constant<int, 32>());
}
#else
inline bool has_avx512() {
  return false;
}
inline bool has_avx2() {
  return false;
}
template <class Body>
void with_avx512(const Body&) {}
template <class Body>
void with_avx2(const Body&) {}
#endif

/// Bytes of the registers for activations of type T.
template <class T>
int register_bytes() {
  return has_avx512() && (!std::is_same_v<T, Bf16> || cpu_has_bf16()) ? 64 : 32;
}

/// body(register_bytes<T>() as a std::integral_constant), compiled for AVX-512, AVX2 and plain x86-64; picked here and
/// not by PLEAT_SIMD because the code differs. The body is a lambda; it and all that it calls must be always_inline, or
/// they get the plain build.
template <class T, class Body>
void with_registers(const Body& body) {
  if (register_bytes<T>() == 64) return with_avx512(body);
  if (has_avx2()) return with_avx2(body);
  body(std::integral_constant<int, 32>());
}

/// As with_registers, but of what a CPU with AVX2 can run, or AVX512-BF16 where T is Bf16: for bodies that are not
/// called on others. The plain build of long unrolled code is the largest of the three.
template <class T, class Body>
void with_wide_registers(const Body& body) {
  if constexpr (!std::is_same_v<T, Bf16>)
    if (!has_avx512()) return with_avx2(body);
  with_avx512(body);
}

}  // namespace pleat
