// The depthwise convolution inside an inverted residual block (private to fold/engine/fused_inverted_residual.cpp).
//
// Layout: input and output are bands of lines, [line][column][channel], of the channels that exist at a time. The input
// has its zeros around it, so nothing here asks where the picture ends. Weights are [tap][channel].
//
// Loops: rows of the output, two at a time where registers suffice; vectors of channels; pixels of the row, seven at a
// time; lines of the input; pixels of the line, each of which serves all sums that it is part of.
//
// Why training's kernel (ops/conv/depthwise_tiles.hpp) does not do: it reads pictures as they are in memory, without
// zeros around them, so each of its tiles finds its pixels through pointers; it packs its weights in every call,
// because training changes them; and activation functions are not its business. For 28x28 pixels of 96 channels it
// executes 338,000 instructions where this code executes 280,000, for 7x7 of 576 channels 199,000 against 108,000 (3x3,
// stride 1, AVX2). Training cannot use this code in turn: it has neither the zeros, nor strides of the output that
// backward needs, nor double precision.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/simd/simd.hpp"
#include "ops/conv/gemm/tile_product.hpp"

namespace pleat::fused_depthwise {

// What the depthwise convolution reads and writes.
struct Plane {
  int64_t rows, columns;  // of the output
  int64_t in_line;        // from one line of the input to the next, in elements
  int64_t pixel;          // from one pixel to the next, of both, in elements
};

// A vector of channels of kRows rows of kCount neighbours: a pixel that is read serves all sums it is part of.
template <class Isa, int kKernel, int kStride, int kRows, int kCount, class T>
PLEAT_INLINE inline void filter_pixels(T* to, const T* from, const float* weight, int64_t tap, const float* bias,
                                       const Activation& act, const Plane& s) {
  using V = Vec<float, Isa::kBytes / sizeof(float)>;
  V sum[kRows * kCount];
  PLEAT_UNROLLED(p, kRows * kCount) load(sum[p], bias);
  // Lines of the input up to `end`, which rows [kFirst, kLast) of the output see.
  int64_t line = 0;
  const auto lines = [&](auto first, auto last, int64_t end) PLEAT_INLINE {
    constexpr int kFirst = decltype(first)::value, kLast = decltype(last)::value;
    for (; line < end; ++line) {
      V w[kRows][kKernel], seen;
      PLEAT_UNROLLED(r, kRows) if (r >= kFirst && r < kLast) PLEAT_UNROLLED(kw, kKernel) {
        load(w[r][kw], weight + ((line - r * kStride) * kKernel + kw) * tap);
        keep(w[r][kw]);
      }
      const T* at = from + line * s.in_line;
      PLEAT_UNROLLED(i, (kCount - 1) * kStride + kKernel) {
        load<Isa>(seen, at);
        keep(seen);
        at += s.pixel;
        keep(at);
        PLEAT_UNROLLED(r, kRows)
        PLEAT_UNROLLED(p, kCount) {
          const int64_t kw = i - p * kStride;
          if (r >= kFirst && r < kLast && kw >= 0 && kw < kKernel) sum[r * kCount + p] += w[r][kw] * seen;
        }
      }
    }
  };
  using Zero = std::integral_constant<int, 0>;
  using One = std::integral_constant<int, 1>;
  using Rows = std::integral_constant<int, kRows>;
  if constexpr (kRows == 2) lines(Zero(), One(), kStride);
  lines(Zero(), Rows(), kKernel);
  if constexpr (kRows == 2) lines(One(), Rows(), kStride + kKernel);
  activate(sum, act);
  PLEAT_UNROLLED(i, kRows * kCount) {
    store<Isa>(to, sum[i]);
    to += i % kCount + 1 < kCount ? s.pixel : (s.columns - kCount + 1) * s.pixel;
    keep(to);
  }
}

// kRows rows of all channels, row by row, so that a row's neighbours are still in the first-level cache. The last
// pixels overlap where kCount does not divide the row.
template <class Isa, int kKernel, int kStride, int kRows, int kCount, class T>
PLEAT_INLINE inline void filter_rows(T* to, const T* from, int64_t channels, const float* weight, int64_t tap,
                                     const float* bias, const Activation act, const Plane s) {
  for (int64_t c = 0; c < channels; c += Isa::kBytes / int64_t{sizeof(float)})
    for (int64_t column = 0; column < s.columns; column += kCount) {
      const int64_t at = std::min(column, s.columns - kCount) * s.pixel;
      filter_pixels<Isa, kKernel, kStride, kRows, kCount>(to + at + c, from + at * kStride + c, weight + c, tap,
                                                          bias + c, act, s);
    }
}

template <class Isa, int kKernel, int kStride, class T>
PLEAT_INLINE inline void filter(T* to, const T* from, int64_t channels, const float* weight, int64_t tap,
                                const float* bias, const Activation& act, const Plane& s) {
  const auto some = [&](auto rows, auto count) PLEAT_INLINE {
    filter_rows<Isa, kKernel, kStride, rows, count>(to, from, channels, weight, tap, bias, act, s);
    to += rows * s.columns * s.pixel;
    from += rows * kStride * s.in_line;
  };
  using One = std::integral_constant<int, 1>;
  using Seven = std::integral_constant<int, 7>;
  int64_t row = 0;
  if constexpr (Isa::kRegisters >= 32)
    for (; s.columns >= 7 && row + 2 <= s.rows; row += 2) some(std::integral_constant<int, 2>(), Seven());
  for (; row < s.rows; ++row)
    if (s.columns >= 7)
      some(One(), Seven());
    else if (s.columns >= 4)
      some(One(), std::integral_constant<int, 4>());
    else
      some(One(), One());
}

}  // namespace pleat::fused_depthwise
