// A convolution as a product with packed weights, for some lines of outputs at a time. What a line of the kernel sees
// lies side by side in a line of the input, once there are borders around it; where lines of outputs are shorter than a
// tile of the product, all that an output sees is copied side by side (im2col). Copies stay in the second-level cache.
// For what oneDNN is slow at: few channels, and few pixels of many channels, where weights, here read once and in the
// order they lie in memory, are most of what is read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/graph.hpp"
#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"
#include "core/tensor.hpp"
#include "ops/conv/gemm/tile_product.hpp"

namespace pleat {

/// y = act(conv2d(x) + bias), of one group. Activations [N,H,W,C].
struct ProductConv {
  Nhwc x, y;
  Conv2d op;
  Activation act;

  /// Channels a multiple of 2 in x and of 16 in y, or of 4 and 8 (but not 8 alone in y); an instruction
  /// set that has tile kernels for activations of this type.
  bool is_supported(Dtype dtype) const {
    return has_tile_kernels(dtype) && ((x.c % 2 == 0 && y.c % 16 == 0) || (x.c % 4 == 0 && y.c % 8 == 0 && y.c > 8));
  }
};

/// How the work is cut: threads take so many lines of outputs at a time, of pictures with short lines so many pixels;
/// with `splits` more than 1 they share the channels.
struct ProductCut {
  int64_t lines;
  int splits;
};

/// Cuts worth trying on num_threads() threads.
std::vector<ProductCut> product_cuts(const ProductConv& conv);

/// T is float, or Bf16 where the CPU has AVX512-BF16; sums are in float.
template <class T>
class ProductConvKernel {
 public:
  /// Packs OIHW weights (not needed afterwards); a missing bias is empty. Throws std::invalid_argument unless
  /// conv.is_supported(kDtypeOf<T>).
  ProductConvKernel(const ProductConv& conv, std::span<const float> weight, std::span<const float> bias);

  /// Elements of scratch memory that a call needs.
  int64_t scratch_size(const ProductCut& cut) const;

  /// y must not overlap x. Allocates nothing. Several threads may call it at once, with scratch of their own.
  void operator()(std::span<T> y, std::span<const T> x, std::span<T> scratch, const ProductCut& cut) const;

 private:
  int64_t copy_size(int64_t lines) const;
  int64_t panel_count() const { return packing_.whole + packing_.tail; }
  Panels<T> panels(int64_t first, int64_t count) const;
  Pixels<T> gather(T* to, std::span<const T> x, const Range& pixels) const;

  ProductConv conv_;
  int64_t depth_;  // products of a sum
  Packing packing_;
  AlignedVector<T> weight_;
  AlignedVector<float> bias_;
};

}  // namespace pleat
