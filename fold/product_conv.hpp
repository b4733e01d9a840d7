// A convolution as a product: what each output pixel sees is copied side by side (im2col), for some pixels at a time so
// that it stays in the second-level cache, and multiplied with packed weights, which are read once a time in the order
// they lie in memory. For pictures of few pixels and many channels, where weights are most of what is read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/bf16.hpp"
#include "core/graph.hpp"
#include "core/parallel.hpp"
#include "core/tensor.hpp"
#include "fold/tile_product.hpp"

namespace pleat {

/// y = act(conv2d(x) + bias), of one group. Activations [N,H,W,C].
struct ProductConv {
  Nhwc x, y;
  int64_t kernel, stride;
  Padding pad;
  Activation act;

  /// An even number of channels in x, a multiple of 16 in y; a CPU with AVX2.
  bool is_supported() const { return x.c % 2 == 0 && y.c % kPanelWidth == 0 && has_avx2(); }
};

/// How the work is cut: threads take `pixels` outputs at a time, and with `splits` more than 1 share their channels.
struct ProductCut {
  int64_t pixels;
  int splits;
};

/// Cuts worth trying on num_threads() threads.
std::vector<ProductCut> product_cuts(const ProductConv& conv);

/// T is float, or Bf16 where the CPU has AVX512-BF16; sums are in float.
template <class T>
class ProductConvKernel {
 public:
  /// Packs OIHW weights (not needed afterwards); a missing bias is empty. Throws std::invalid_argument unless
  /// conv.is_supported().
  ProductConvKernel(const ProductConv& conv, std::span<const float> weight, std::span<const float> bias);

  /// Elements of scratch memory that a call needs.
  int64_t scratch_size(const ProductCut& cut) const;

  /// y must not overlap x. Allocates nothing. Several threads may call it at once, with scratch of their own.
  void operator()(std::span<T> y, std::span<const T> x, std::span<T> scratch, const ProductCut& cut) const;

 private:
  bool copies() const { return conv_.kernel > 1 || conv_.stride > 1 || conv_.pad != Padding{}; }
  void gather(T* to, std::span<const T> x, const Range& pixels) const;

  ProductConv conv_;
  int64_t depth_, pitch_;  // products of a sum; elements from what one output sees to what the next sees
  AlignedVector<T> weight_;
  AlignedVector<float> bias_;
};

}  // namespace pleat
