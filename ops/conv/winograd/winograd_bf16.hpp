// Convolution of a 3x3 kernel with stride 1 by F(2x2,3x3) with bfloat16 at the points: what
// ops/conv/winograd/winograd_pass.hpp multiplies in float is multiplied here by the instruction for pairs, at twice the
// rate, so that it pays from 16 channels on.
//
// Rounding: transformed inputs and weights are rounded to bfloat16, by up to 2^-8 of each; sums are in float. On normal
// values the root mean square of the errors is about 1.1 * 2^-8 of the result's.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"
#include "ops/conv/winograd/tiling.hpp"

namespace pleat {

/// The forward pass, of activations NHWC. The same bits on any number of threads. Spans of the wrong size throw
/// std::invalid_argument.
class WinogradBf16 {
 public:
  /// True for a kernel of 3x3 with stride 1 and no groups, from and to multiples of 16 channels, on a CPU with
  /// AVX512-BF16.
  static bool is_supported(const Nhwc& x_shape, const Conv2d& op);

  /// Throws std::invalid_argument unless is_supported(x_shape, op).
  WinogradBf16(const Nhwc& x_shape, const Conv2d& op);

  int64_t packed_size() const;     ///< Elements that the transformed weights take.
  int64_t workspace_size() const;  ///< Floats of workspace that a call needs.

  /// Transforms the convolution's weights, OIHW.
  void pack(std::span<Bf16> packed, std::span<const float> weight) const;

  /// to = act(convolution + bias, + to if it adds). Several threads may call it at once, with workspaces of their own.
  void operator()(std::span<Bf16> to, std::span<const Bf16> from, std::span<const Bf16> packed,
                  const Epilogue& epilogue, std::span<float> workspace) const;

 private:
  // A block's tiles, the first of them, and their points.
  struct Block {
    int64_t first, tiles;
    Bf16* inputs;  // [panel][pair of points][tile][2][16]: two points are rounded and stored at once
    float* sums;   // [point][tile][channel]
  };
  int64_t input_pair() const { return blocks_.tiles * 2 * kPanel; }
  int64_t input_panel() const;
  int64_t sums_point() const { return matrix(blocks_.tiles, tiling_.out.c); }
  int64_t block_size() const;

  void transform_inputs(const Block& block, const Range& tiles, const Bf16* from) const;
  void multiply_points(const Block& block, const Range& points, const Bf16* packed, const float* bias) const;
  void transform_sums(const Block& block, const Range& tiles, Bf16* to, const Epilogue& epilogue) const;

  Tiling tiling_;
  Blocks blocks_;
  AlignedVector<Bf16> outside_;  // zeros: a line beyond the borders
  AlignedVector<float> zeros_;   // what sums without a bias start at
};

}  // namespace pleat
