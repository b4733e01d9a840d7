#include "ops/conv/conv_kernel.hpp"

#include <type_traits>
#include <utility>
#include <vector>

#include "core/check.hpp"
#include "ops/conv/conv2d.hpp"
#include "ops/conv/conv2d_onednn.hpp"
#include "ops/conv/depthwise_conv2d.hpp"
#include "ops/conv/pointwise_conv2d.hpp"
#include "ops/conv/winograd/winograd_conv2d.hpp"

namespace pleat {
namespace {

// The plain and the depthwise kernels with the workspace they need. They add to the gradients as they go.
template <class T, class Op>
class NativeConv final : public ConvKernel<T> {
 public:
  NativeConv(const Nhwc& x_shape, const Op& op) : shape_(x_shape), op_(op) {
    if constexpr (kDepthwise)
      workspace_.resize(depthwise_conv2d_workspace(x_shape, op));
    else
      workspace_.resize(conv2d_workspace(x_shape, op));
  }

  ConvHooks take_hooks(ConvHooks offered) override {
    if constexpr (!kDepthwise) return offered;
    hooks_ = std::move(offered);
    return {};
  }
  void begin_forward(std::span<const float> weight) override { weight_ = weight; }
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias, const Piece& piece) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_forward<T>(y, x, weight_, bias, shape_, op_, workspace_, {hooks_, piece});
    else
      conv2d_forward<T>(y, x, weight_, bias, shape_, op_, workspace_);
  }
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override {
    weight_ = weight;
    dweight_ = dweight;
    dbias_ = dbias;
  }
  void backward_data(std::span<T> dx, std::span<const T> dy, const Piece&) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_backward_data<T>(dx, dy, weight_, shape_, op_, workspace_);
    else
      conv2d_backward_data<T>(dx, dy, weight_, shape_, op_, workspace_);
  }
  void backward_weights(std::span<const T> dy, std::span<const T> x, const Piece&) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_backward_weights<T>(dweight_, dbias_, dy, x, shape_, op_, workspace_);
    else
      conv2d_backward_weights<T>(dweight_, dbias_, dy, x, shape_, op_, workspace_);
  }
  void backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const Piece& piece) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_backward<T>({dx, dweight_, dbias_}, dy, x, weight_, shape_, op_, workspace_, {hooks_, piece});
    else
      ConvKernel<T>::backward(dx, dy, x, piece);
  }
  void end_backward() override {}

 private:
  static constexpr bool kDepthwise = std::is_same_v<Op, DepthwiseConv2d>;
  const Nhwc shape_;
  const Op op_;
  std::span<const float> weight_;
  std::span<float> dweight_, dbias_;
  AlignedVector<float> workspace_;
  ConvHooks hooks_;
};

template <class T>
std::unique_ptr<ConvKernel<T>> make_with(Algorithm algorithm, const Nhwc& x_shape, const Conv2d& op,
                                         const ConvPasses& passes) {
  if (algorithm == Algorithm::direct) return std::make_unique<OnednnConv2d<T>>(x_shape, op, passes);
  if (algorithm == Algorithm::product) return std::make_unique<PointwiseConv2d<T>>(x_shape, op, passes);
  return std::make_unique<WinogradConv2d<T>>(x_shape, op, algorithm == Algorithm::winograd2 ? 2 : 4, passes);
}

// An algorithm for each pass, with one kernel for all passes that share it.
template <class T>
class MixedConv final : public ConvKernel<T> {
 public:
  MixedConv(const Nhwc& x_shape, const Conv2d& op, const ConvKernelOptions& options) {
    const ConvPasses& wanted = options.passes;
    const ConvAlgorithms& chosen = options.algorithms;
    for (const Algorithm algorithm : kAlgorithms) {
      const ConvPasses passes{.forward = wanted.forward && chosen.forward == algorithm,
                              .backward_data = wanted.backward_data && chosen.backward_data == algorithm,
                              .backward_weights = wanted.backward_weights && chosen.backward_weights == algorithm};
      if (!passes.forward && !passes.backward_data && !passes.backward_weights) continue;
      ConvKernel<T>* kernel = kernels_.emplace_back(make_with<T>(algorithm, x_shape, op, passes)).get();
      if (passes.forward) forward_ = kernel;
      if (passes.backward_data) data_ = kernel;
      if (passes.backward_weights) weights_ = kernel;
    }
  }

  // Each kernel takes the hooks of the passes that it was built for.
  ConvHooks take_hooks(ConvHooks offered) override {
    for (const auto& kernel : kernels_) offered = kernel->take_hooks(std::move(offered));
    return offered;
  }
  void begin_forward(std::span<const float> weight) override { forward_->begin_forward(weight); }
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias, const Piece& piece) override {
    forward_->forward(y, x, bias, piece);
  }
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override {
    weights_->begin_backward(weight, dweight, dbias);
    if (data_ != nullptr && data_ != weights_) data_->begin_backward(weight, dweight, dbias);
  }
  void backward_data(std::span<T> dx, std::span<const T> dy, const Piece& piece) override {
    data_->backward_data(dx, dy, piece);
  }
  void backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& piece) override {
    weights_->backward_weights(dy, x, piece);
  }
  void end_backward() override { weights_->end_backward(); }

 private:
  std::vector<std::unique_ptr<ConvKernel<T>>> kernels_;
  ConvKernel<T>*forward_ = nullptr, *data_ = nullptr, *weights_ = nullptr;
};

}  // namespace

template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const Conv2d& op,
                                                const ConvKernelOptions& options) {
  if (options.kernels == Kernels::onednn) {
    const ConvAlgorithms& chosen = options.algorithms;
    if (chosen.forward == chosen.backward_data && chosen.forward == chosen.backward_weights)
      return make_with<T>(chosen.forward, x_shape, op, options.passes);
    return std::make_unique<MixedConv<T>>(x_shape, op, options);
  }
  if constexpr (std::is_same_v<T, float>) return std::make_unique<NativeConv<T, Conv2d>>(x_shape, op);
  throw std::invalid_argument("conv2d: native kernels compute in f32 alone, got bf16");
}

template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const DepthwiseConv2d& op,
                                                const ConvKernelOptions&) {
  return std::make_unique<NativeConv<T, DepthwiseConv2d>>(x_shape, op);
}

#define PLEAT_INSTANTIATE(T)                                                                                      \
  template std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc&, const Conv2d&, const ConvKernelOptions&); \
  template std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc&, const DepthwiseConv2d&,                   \
                                                           const ConvKernelOptions&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
