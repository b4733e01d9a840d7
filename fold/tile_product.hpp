// Products of a few pixels with packed weights, all sums in registers: what the engine's own convolutions are made of
// (private to them). Weights are packed in panels of 16 output channels, [panel][k][16], or for bfloat16
// [panel][k/2][16][2], as the instruction that multiplies pairs wants them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/bf16.hpp"
#include "core/simd.hpp"
#include "core/tensor.hpp"
#include "ops/activation.hpp"

namespace pleat {

/// Weights of one lane of a vector.
template <class T>
inline constexpr int64_t kLaneWeights = std::is_same_v<T, Bf16> ? 2 : 1;

/// Output channels of a panel of packed weights.
inline constexpr int64_t kPanelWidth = 16;

inline int64_t panels_of(int64_t channels) {
  return (channels + kPanelWidth - 1) / kPanelWidth;
}

/// One operand of the sums: `lines` times `pixels` pixels, and the elements from one line or pixel to the next.
template <class T>
struct Pixels {
  const T* data;
  int64_t lines, pixels, line, pixel;
};
/// The other: panels of weights, `panel` elements from one to the next.
template <class T>
struct Panels {
  const T* data;
  int64_t panel;
};

/// A factor of all lanes: one activation, or for bfloat16 a pair of them.
template <class V>
[[gnu::always_inline]] inline float spread(const float* from) {
  return *from;
}
template <class V>
[[gnu::always_inline]] inline auto spread(const Bf16* from) {
  uint32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  return std::array{Vec<uint32_t, kWidthOf<V>>{} + pair};
}

/// sum += a * b; for bfloat16 each lane holds a pair, whose products are both added.
template <class V>
[[gnu::always_inline]] inline void multiply_add(V& sum, float a, const V& b) {
  sum += a * b;
}
template <class V, class Bits>
[[gnu::always_inline]] inline void multiply_add(V& sum, const Bits& a, const V& b) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  // As text: the compiler's own function for it cannot be called from what is compiled for several instruction sets.
  if constexpr (sizeof(V) == 64) {
    V result = sum;
    asm("vdpbf16ps %2, %1, %0" : "+v"(result) : "v"(a[0]), "v"(b));
    sum = result;
    return;
  }
#endif
  auto b_bits = a[0];
  std::memcpy(&b_bits, &b, sizeof b);
  const auto a_low = a[0] << 16, a_high = a[0] & 0xffff0000, b_low = b_bits << 16, b_high = b_bits & 0xffff0000;
  V factor[4];
  std::memcpy(&factor[0], &a_low, sizeof sum);
  std::memcpy(&factor[1], &b_low, sizeof sum);
  std::memcpy(&factor[2], &a_high, sizeof sum);
  std::memcpy(&factor[3], &b_high, sizeof sum);
  sum += factor[0] * factor[1] + factor[2] * factor[3];
}

/// As store(), but to bfloat16 by the CPU's own instruction where it multiplies with it.
template <class V>
[[gnu::always_inline]] inline void store_rounded(float* to, const V& v) {
  store(to, v);
}
template <class V>
[[gnu::always_inline]] inline void store_rounded(Bf16* to, const V& v) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if constexpr (sizeof(V) == 64) {
    Vec<uint16_t, 16> rounded;
    asm("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(v));
    std::memcpy(to, &rounded, sizeof rounded);
    return;
  }
#endif
  store(to, v);
}

/// The most pixels of a tile of so many panels, such that sums, weights and one factor fit the registers.
template <int kBytes, int kPanels>
inline constexpr int kTilePixels = kBytes == 64 ? (kPanels == 3 ? 7 : 14) : 6;

// The product of kRows pixels at `a` with kPanels panels of b: start(pixel, channel, sum) gives each vector of sums its
// first value, finish(pixel, channel, sum) takes it.
template <int kBytes, int kRows, int kPanels, class T, class Start, class Finish>
[[gnu::always_inline]] inline void multiply_tile(const T* a, int64_t pixel, Panels<T> b, int64_t k, const Start& start,
                                                 const Finish& finish) {
  using V = Vec<float, kBytes / sizeof(float)>;
  constexpr int64_t kWidth = kWidthOf<V>, kVectors = kPanels * kPanelWidth / kWidth;
  constexpr int64_t kStep = kLaneWeights<T>;
  V sum[kRows][kVectors];
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(v, kVectors) start(r, v * kWidth, sum[r][v]);
  for (int64_t i = 0; i < k; i += kStep) {
    V w[kVectors];
    PLEAT_UNROLLED(v, kVectors) {
      const int64_t column = v * kWidth;
      std::memcpy(&w[v], b.data + column / kPanelWidth * b.panel + i * kPanelWidth + column % kPanelWidth * kStep,
                  kBytes);
    }
    PLEAT_UNROLLED(r, kRows) {
      const auto factor = spread<V>(a + r * pixel + i);
      PLEAT_UNROLLED(v, kVectors) multiply_add(sum[r][v], factor, w[v]);
    }
  }
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(v, kVectors) finish(r, v * kWidth, sum[r][v]);
}

template <int kBytes, int kPanels, class T, class Start, class Finish>
[[gnu::always_inline]] inline void multiply_panels(const Pixels<T>& a, Panels<T> b, int64_t k, const Start& start,
                                                   const Finish& finish) {
  for (int64_t line = 0; line < a.lines; ++line) {
    int64_t first = 0;
    const auto some = [&](auto count) __attribute__((always_inline)) {
      const auto at = [&](const auto& call) __attribute__((always_inline)) {
        return [&, line, first ](int64_t r, int64_t c, auto& sum) __attribute__((always_inline)) {
          call(line, first + r, c, sum);
        };
      };
      multiply_tile<kBytes, count, kPanels>(a.data + line * a.line + first * a.pixel, a.pixel, b, k, at(start),
                                            at(finish));
      first += count;
    };
    constexpr int kMost = kTilePixels<kBytes, kPanels>;
    while (first + kMost <= a.pixels) some(std::integral_constant<int, kMost>());
    if constexpr (kMost > 7)
      if (first + 7 <= a.pixels) some(std::integral_constant<int, 7>());
    const int64_t left = a.pixels - first;
    if (left & 4) some(std::integral_constant<int, 4>());
    if (left & 2) some(std::integral_constant<int, 2>());
    if (left & 1) some(std::integral_constant<int, 1>());
  }
}

/// a [lines, pixels, k] times b [k, panels*16], vector by vector of sums: start(line, pixel, channel, sum) gives it its
/// first value, finish(line, pixel, channel, sum) takes it. k is even for bfloat16.
template <int kBytes, class T, class Start, class Finish>
[[gnu::always_inline]] inline void multiply(const Pixels<T>& a, Panels<T> b, int64_t panels, int64_t k,
                                            const Start& start, const Finish& finish) {
  int64_t panel = 0;
  const auto some = [&](auto count) __attribute__((always_inline)) {
    const auto at = [&](const auto& call) __attribute__((always_inline)) {
      return [&](int64_t line, int64_t pixel, int64_t c, auto& sum) __attribute__((always_inline)) {
        call(line, pixel, panel * kPanelWidth + c, sum);
      };
    };
    multiply_panels<kBytes, count>(a, Panels<T>{b.data + panel * b.panel, b.panel}, k, at(start), at(finish));
  };
  for (int64_t taken = 0; panel < panels; panel += taken) {
    const int64_t left = panels - panel;
    taken = 1;
    if constexpr (kBytes == 64) {
      if (left >= 5 || left == 3)
        some(std::integral_constant<int, 3>()), taken = 3;
      else if (left >= 2)
        some(std::integral_constant<int, 2>()), taken = 2;
      else
        some(std::integral_constant<int, 1>());
    } else {
      some(std::integral_constant<int, 1>());
    }
  }
}

/// OIHW weights of a 1x1 convolution [out, in] in panels of k >= in rows; what is beyond `out` and `in` is zero.
template <class T>
AlignedVector<T> pack_panels(std::span<const float> weight, int64_t out, int64_t in, int64_t k);

}  // namespace pleat
