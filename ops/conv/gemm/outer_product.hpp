// Sums over pixels of one operand's channels times another's: the gradient of a 1x1 convolution's weights (private to
// ops/conv/pointwise_conv2d.cpp).
#pragma once

#include <cstdint>

#include "core/simd/bf16.hpp"

namespace pleat {

/// Pixels of `channels` elements each, one behind the other; of bfloat16 two at a time, interleaved:
/// [pixels/2][channels][2].
template <class T>
struct Operand {
  const T* data;
  int64_t channels;
};

/// sums [rows.channels, lanes.channels] += rows^T times lanes, over so many pixels (even for bfloat16); rows are a
/// multiple of 8, lanes of 16. On the calling thread alone, which must have AVX2, for bfloat16 AVX512-BF16.
template <class T>
void add_outer_product(float* sums, const Operand<T>& rows, const Operand<T>& lanes, int64_t pixels);

/// Two pixels of so many channels in the order that an Operand wants.
void interleave(Bf16* to, const Bf16* first, const Bf16* second, int64_t channels);

}  // namespace pleat
