// An inverted residual block (Sandler et al. 2018, arXiv:1801.04381, figure 3d) in one pass: 1x1 convolution to more
// channels (in a network's first block a larger one, of the picture), activation, depthwise convolution, activation,
// 1x1 convolution to fewer, sum with the skip. The tensor of many channels, which is most of the memory traffic when
// the three are run one after another, exists for some rows and channels at a time, in the second-level cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/graph.hpp"
#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"
#include "core/tensor.hpp"
#include "fold/engine/picture_lines.hpp"
#include "ops/conv/gemm/tile_product.hpp"
#include "ops/conv/window.hpp"

namespace pleat {

/// What the block computes: y = act2(project(act1(depthwise(act0(expand(x))))) + residual). Without expand the
/// depthwise convolution reads x. Activations [N,H,W,C].
struct InvertedResidual {
  Nhwc x, between, y;            ///< `between` is what the depthwise convolution reads.
  std::optional<Conv2d> expand;  ///< Without, `between` is x.
  DepthwiseConv2d depthwise;
  Activation acts[3];  ///< Behind expand, behind depthwise, of the block.

  /// True if x is expanded line by line (fold/engine/picture_lines.hpp), not as it is.
  bool reads_lines() const { return expand && !is_pointwise(*expand); }

  /// Depthwise kernels of 3 or 5 with stride 1 or 2; an even number of channels in x unless it reads lines; an
  /// instruction set that has tile kernels for activations of this type.
  bool is_supported(Dtype dtype) const {
    const auto [kernel, stride, pad, bias] = depthwise;
    return (kernel == 3 || kernel == 5) && (stride == 1 || stride == 2) && (x.c % 2 == 0 || reads_lines()) &&
           has_tile_kernels(dtype);
  }
};

/// Weights in Pleat's order; a missing bias is empty.
struct InvertedResidualWeights {
  std::span<const float> expand, expand_bias, depthwise, depthwise_bias, project, project_bias;
};

/// How the work is cut: threads take bands of output rows; within one, `chunk` channels of the tensor between exist at
/// a time. With `splits` more than 1 threads share a band by channels, and their sums are added afterwards, in order.
struct BlockCut {
  int64_t rows = 1, chunk = 16;
  int splits = 1;
  bool operator==(const BlockCut&) const = default;
};

/// Cuts worth trying on num_threads() threads, the usual one first.
std::vector<BlockCut> block_cuts(const InvertedResidual& block);

/// T is float, or Bf16 where the CPU has AVX512-BF16. What is between the convolutions is stored in T too; sums are in
/// float.
template <class T>
class InvertedResidualKernel {
 public:
  /// Packs the weights (not needed afterwards). Throws std::invalid_argument unless
  /// block.is_supported(kDtypeOf<T>).
  InvertedResidualKernel(const InvertedResidual& block, const InvertedResidualWeights& weights);

  /// Floats of scratch memory that a call needs.
  int64_t scratch_size(const BlockCut& cut) const;

  /// y must not overlap x or residual; an empty residual is none. Allocates nothing. Several threads may call it at
  /// once, with scratch of their own.
  void operator()(std::span<T> y, std::span<const T> x, std::span<const T> residual, std::span<float> scratch,
                  const BlockCut& cut) const;

 private:
  struct Band;
  struct Buffers;
  Buffers lay_out(float* scratch, const BlockCut& cut) const;
  // The weights that make `count` channels of the tensor between from c on, and those that are made from them.
  Panels<T> expanding(int64_t c, int64_t count) const {
    return {expand_.data() + c * depth_, kPanelWidth * depth_, count / kPanelWidth};
  }
  Panels<T> projecting(int64_t c) const {
    const int64_t panel = panels_of(block_.between.c) * kPanelWidth * kPanelWidth, whole = packing_.whole;
    return {project_.data() + c * kPanelWidth, panel, whole,
            packing_.tail ? project_.data() + whole * panel + c * kTailWidth : nullptr};
  }
  int64_t line_pitch() const;
  void expand(const Band& band, const Range& rows, int64_t c, int64_t count, T* to, int64_t width) const;
  template <class Isa>
  void compute(const Band& band) const;

  InvertedResidual block_;
  int64_t run_, depth_;  // of expand: weights of a line of its kernel, rounded up to whole lanes, and of all
  int64_t out_panels_;
  Packing packing_;  // of them
  AlignedVector<T> expand_, project_;
  AlignedVector<float> expand_bias_, depthwise_, depthwise_bias_, project_bias_, zeros_;  // depthwise_: [tap][channel]
};

}  // namespace pleat
