// One convolution of fixed shape, whoever computes it: our own kernels (ops/conv/conv2d.hpp,
// ops/conv/depthwise_conv2d.hpp) or oneDNN's (ops/conv/conv2d_onednn.hpp). A batch comes in pieces; what must be done
// once a batch (packing weights, adding up their gradient) stands apart from what is done for each piece.
#pragma once

#include <memory>
#include <span>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"
#include "ops/conv/choose_algorithm.hpp"
#include "ops/conv/conv_hooks.hpp"

namespace pleat {

/// Whose convolutions: our own, which are the definition, or the fastest there are.
enum class Kernels { native, onednn };

/// Activations NHWC of type T (float, Bf16), weights OIHW, all for the pieces' shape. Calls on one object must not
/// overlap. Spans of the wrong size throw std::invalid_argument. Memory is allocated at construction, for the pool's
/// thread count at that time.
template <class T>
class ConvKernel {
 public:
  virtual ~ConvKernel() = default;

  /// Before the pieces of a forward pass. `weight` must not change until it ends.
  virtual void begin_forward(std::span<const float> weight) = 0;
  /// An empty `bias` is none.
  virtual void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias) = 0;

  /// Before the pieces of a backward pass. `weight` must not change until it ends; what backward_weights finds is added
  /// to `dweight` and `dbias`, and complete after end_backward. An empty `dbias` is none.
  virtual void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) = 0;
  virtual void backward_data(std::span<T> dx, std::span<const T> dy) = 0;  ///< Overwrites dx.
  virtual void backward_weights(std::span<const T> dy, std::span<const T> x) = 0;
  /// Both, for a kernel that does so faster; an empty `dx` is not wanted.
  virtual void backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x) {
    backward_weights(dy, x);
    if (!dx.empty()) backward_data(dx, dy);
  }
  virtual void end_backward() = 0;

  /// From here on those of the hooks are called that hooks_called says.
  virtual void attach(const ConvHooks& /*hooks*/) {}
};

/// Passes that will be called: for those alone memory is kept.
struct ConvPasses {
  bool forward = true, backward_data = false, backward_weights = false;
};
inline constexpr ConvPasses kAllPasses{true, true, true};

struct ConvKernelOptions {
  Kernels kernels = Kernels::onednn;
  ConvPasses passes = {};
  ConvAlgorithms algorithms = {};  ///< Our own kernels know the direct one alone.
};

/// Which hooks these kernels call: of our own kernels, that go from pixels to pixels, each thread for itself.
struct HooksCalled {
  bool x = false, y = false, again = false, dy = false, dx = false;
};
HooksCalled hooks_called(const Conv2d& op, const ConvKernelOptions& options);
HooksCalled hooks_called(const DepthwiseConv2d& op, const ConvKernelOptions& options);

/// Throws std::invalid_argument where the choice cannot do it (our own have no Bf16). Depthwise convolutions, whatever
/// the choice, are our own: faster than oneDNN's, and in Bf16 too.
template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const Conv2d& op,
                                                const ConvKernelOptions& options);
template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const DepthwiseConv2d& op,
                                                const ConvKernelOptions& options);

}  // namespace pleat
