// Convolution of a 3x3 kernel with stride 1 by Winograd's algorithm: F(2x2,3x3) multiplies 2.25 times less than the
// direct sum, F(4x4,3x3) four times less, at the price of transforming pictures and weights to and fro. It pays where
// there are many channels, and where tiles of 2x2 or 4x4 fill the picture. The engine runs it in f32; in bfloat16 it
// runs ops/conv/winograd/winograd_bf16.hpp. Training's kernel, ops/conv/winograd/winograd_conv2d.hpp, adds the gradient
// of the weights.
//
// Rounding: errors of F(2x2) are no larger than the direct sum's in f32, those of F(4x4) up to twice as large: 4e-6 of
// the largest value with 512 channels, 2e-6 with 64.
//
// Source: Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"
#include "ops/conv/winograd/tiling.hpp"
#include "ops/conv/winograd/transforms.hpp"

namespace pleat {

/// One direction of a convolution of activations NHWC of type T (float, Bf16); everything between the transforms is in
/// float. With the same thread count at construction, the same bits. Spans of the wrong size throw
/// std::invalid_argument.
template <class T>
class WinogradPass {
 public:
  enum class Direction { forward, backward };  ///< x to y, or the gradient of y to that of x: with the kernel rotated.

  /// True for a kernel of 3x3 with stride 1 and no groups, on a CPU with AVX2, for Bf16 AVX512-BF16.
  static bool is_supported(const Conv2d& op);

  /// `tile` is 2 or 4, for F(2x2) or F(4x4). Throws std::invalid_argument for another, or unless is_supported(op).
  WinogradPass(const Nhwc& x_shape, const Conv2d& op, int tile, Direction direction = Direction::forward);

  int64_t packed_size() const;     ///< Floats that the transformed weights take.
  int64_t workspace_size() const;  ///< Floats of workspace that a call needs.
  const WinogradTransforms<T>& transforms() const { return transforms_; }
  const Tiling& tiling() const { return tiling_; }

  /// Transforms the convolution's weights, OIHW.
  void pack(std::span<float> packed, std::span<const float> weight) const;

  /// to = act(convolution + bias, + to if it adds). Several threads may call it at once, with workspaces of their own.
  void operator()(std::span<T> to, std::span<const T> from, std::span<const float> packed, const Epilogue& epilogue,
                  std::span<float> workspace) const;

 private:
  int64_t block_points() const;

  Direction direction_;
  WinogradTransforms<T> transforms_;
  Tiling tiling_;
  int64_t rows_, columns_;  // of a point's weights: channels read and written, in whole panels
  Blocks blocks_;
  AlignedVector<T> outside_;  // zeros: a pixel beyond the borders
};

}  // namespace pleat
