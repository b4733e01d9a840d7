// Products of pixels with packed weights, all sums of some pixels in registers: what the engine's own convolutions are
// and training's 1x1 convolutions are made of (private to them). Weights are packed in panels of 16 output channels,
// [panel][k][16], or for bfloat16 [panel][k/2][16][2], as the instruction that multiplies pairs wants them. Where eight
// channels or less would fill half a panel, the last 24 are packed as a tail, in which a register holds eight channels'
// weights of twice as many k.
#pragma once

#include <cstdint>
#include <span>

#include "core/simd/bf16.hpp"
#include "core/simd/simd.hpp"
#include "core/tensor.hpp"
#include "ops/activation.hpp"
#include "ops/conv/gemm/lane_product.hpp"

namespace pleat {

/// Output channels of a panel of packed weights.
inline constexpr int64_t kPanelWidth = 16;

inline int64_t panels_of(int64_t channels) {
  return (channels + kPanelWidth - 1) / kPanelWidth;
}

/// One operand of the sums: `lines` times `pixels` pixels, and the elements from one line or pixel to the next. A pixel
/// is `runs` times k elements, `run` from one to the next.
template <class T>
struct Pixels {
  const T* data;
  int64_t lines, pixels, line, pixel;
  int64_t runs = 1, run = 0;
};
/// The other: panels of weights, `panel` elements from one to the next, and a tail unless nullptr.
template <class T>
struct Panels {
  const T* data;
  int64_t panel, count;
  const T* tail = nullptr;
};

/// Where sums start and what becomes of them; distances in elements.
struct Sums {
  const float* start;   ///< Channels of the first pixel;
  int64_t start_pixel;  ///< to the next one's: 0 for the same for all, like a bias.
  float* to;            ///< May be what they start from.
  int64_t line, pixel;
  Activation act;
  Bf16* rounded = nullptr;  ///< If set they go here, not to `to`, for operands in bfloat16.

  void send(float* there) { to = there; }
  void send(Bf16* there) { rounded = there; }

  /// Those of other pixels and channels, so far from these.
  PLEAT_INLINE Sums at(int64_t from_start, int64_t from_to) const {
    Sums other = *this;
    other.start += from_start;
    if (rounded != nullptr)
      other.rounded += from_to;
    else
      other.to += from_to;
    return other;
  }
};

/// to = act(start + a [lines, pixels, runs*k] times b [runs*k, count*16, and 24]); k is even for bfloat16. On the
/// calling thread alone, which must have AVX2, for bfloat16 AVX512-BF16. Weights come from far: those of `next`, which
/// the product after this one will use, are asked for meanwhile.
template <class T>
void multiply(const Pixels<T>& a, const Panels<T>& b, int64_t k, const Sums& sums, const Panels<T>& next);

/// Channels of a tail.
inline constexpr int64_t kTailWidth = 24;

/// How many whole panels so many output channels take, and whether a tail follows.
struct Packing {
  int64_t whole;
  bool tail;
};
template <class T>
Packing packing(int64_t out, int64_t k) {
  const int64_t more = out % kPanelWidth;
  const bool tail = out > kPanelWidth && more > 0 && more <= kPanelWidth / 2 && k % (2 * kLaneWeights<T>) == 0;
  return {tail ? out / kPanelWidth - 1 : panels_of(out), tail};
}

/// Weights of a 1x1 convolution: that of output o and input i is data[o * next_out + i * next_in].
template <class W>
struct PointwiseWeights {
  const W* data;
  int64_t out, in, next_out, next_in;
};

/// Elements of packed weights.
inline int64_t packed_size(const Packing& packing, int64_t k) {
  return (packing.whole * kPanelWidth + (packing.tail ? kTailWidth : 0)) * k;
}

/// Panels of k >= weights.in rows; what is beyond `out` and `in` is zero.
template <class T, class W>
void pack_panels(std::span<T> packed, const PointwiseWeights<W>& weights, int64_t k, const Packing& packing);

}  // namespace pleat
