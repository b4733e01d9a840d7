// One convolution of fixed shape, whichever kernel computes it: the plain ones (ops/conv/conv2d.hpp), the depthwise one
// (ops/conv/depthwise_conv2d.hpp), oneDNN's (ops/conv/conv2d_onednn.hpp), Winograd's (ops/conv/winograd/) or the
// product (ops/conv/pointwise_conv2d.hpp). A batch comes in pieces; what must be done once a batch (packing weights,
// adding up their gradient) is separate from what is done for each piece.
#pragma once

#include <memory>
#include <span>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"
#include "ops/conv/algorithm.hpp"
#include "ops/conv/conv_hooks.hpp"

namespace pleat {

/// `native`: the plain kernels, which define what a convolution is. `onednn`: the fastest of oneDNN's and Pleat's.
enum class Kernels { native, onednn };

/// Activations are NHWC of type T (float or Bf16), weights OIHW in float, all for the shape of one piece. Calls on one
/// object must not overlap. Spans of the wrong size throw std::invalid_argument. All memory is allocated at
/// construction, for num_threads() threads at that time.
template <class T>
class ConvKernel {
 public:
  virtual ~ConvKernel() = default;

  /// Takes over those of the offered hooks that this kernel will call, and returns the others: their work stays with
  /// the caller. Is called once, before the first pass.
  virtual ConvHooks take_hooks(ConvHooks offered) { return offered; }

  /// To be called before the pieces of a forward pass. `weight` must not change until it ends.
  virtual void begin_forward(std::span<const float> weight) = 0;
  /// An empty `bias` is none. Hooks are told of `piece`.
  virtual void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias, const Piece& piece) = 0;

  /// To be called before the pieces of a backward pass. `weight` must not change until it ends; what backward_weights
  /// finds is added to `dweight` and `dbias`, and complete after end_backward. An empty `dbias` is none.
  virtual void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) = 0;
  virtual void backward_data(std::span<T> dx, std::span<const T> dy, const Piece& piece) = 0;  ///< Overwrites dx.
  virtual void backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& piece) = 0;
  /// Both; kernels override it where they are faster together. With an empty `dx` the weights' gradient alone.
  virtual void backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const Piece& piece) {
    backward_weights(dy, x, piece);
    if (!dx.empty()) backward_data(dx, dy, piece);
  }
  virtual void end_backward() = 0;
};

/// Which passes will be called. Memory is allocated for those alone.
struct ConvPasses {
  bool forward = true, backward_data = false, backward_weights = false;
};
inline constexpr ConvPasses kAllPasses{true, true, true};

struct ConvKernelOptions {
  Kernels kernels = Kernels::onednn;
  ConvPasses passes = {};
  ConvAlgorithms algorithms = {};  ///< Used by `onednn`; the native kernels are direct.
};

/// Builds the kernel. Throws std::invalid_argument where the chosen one cannot do it (native kernels have no Bf16).
/// Depthwise convolutions are computed by Pleat's own kernel in any case: it is faster than oneDNN's.
template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const Conv2d& op,
                                                const ConvKernelOptions& options);
template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const DepthwiseConv2d& op,
                                                const ConvKernelOptions& options);

}  // namespace pleat
