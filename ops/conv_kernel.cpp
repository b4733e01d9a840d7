#include "ops/conv_kernel.hpp"

#include <algorithm>
#include <type_traits>

#include "core/check.hpp"
#include "ops/conv2d.hpp"
#include "ops/conv2d_onednn.hpp"
#include "ops/depthwise_conv2d.hpp"
#include "ops/winograd.hpp"

namespace pleat {
namespace {

// Our own kernels with the workspace they need. They add to the gradients as they go.
template <class T, class Op>
class NativeConv final : public ConvKernel<T> {
 public:
  NativeConv(const Nhwc& x_shape, const Op& op) : shape_(x_shape), op_(op) {
    if constexpr (kDepthwise)
      workspace_.resize(depthwise_conv2d_workspace(x_shape, op));
    else
      workspace_.resize(conv2d_workspace(x_shape, op));
  }

  void begin_forward(std::span<const float> weight) override { weight_ = weight; }
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_forward<T>(y, x, weight_, bias, shape_, op_, workspace_);
    else
      conv2d_forward<T>(y, x, weight_, bias, shape_, op_, workspace_);
  }
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override {
    weight_ = weight;
    dweight_ = dweight;
    dbias_ = dbias;
  }
  void backward_data(std::span<T> dx, std::span<const T> dy) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_backward_data<T>(dx, dy, weight_, shape_, op_, workspace_);
    else
      conv2d_backward_data<T>(dx, dy, weight_, shape_, op_, workspace_);
  }
  void backward_weights(std::span<const T> dy, std::span<const T> x) override {
    if constexpr (kDepthwise)
      depthwise_conv2d_backward_weights<T>(dweight_, dbias_, dy, x, shape_, op_, workspace_);
    else
      conv2d_backward_weights<T>(dweight_, dbias_, dy, x, shape_, op_, workspace_);
  }
  void end_backward() override {}

 private:
  static constexpr bool kDepthwise = std::is_same_v<Op, DepthwiseConv2d>;
  const Nhwc shape_;
  const Op op_;
  std::span<const float> weight_;
  std::span<float> dweight_, dbias_;
  AlignedVector<float> workspace_;
};

// The tile of the Winograd convolution that is faster than the direct one, 0 where none is: `make bench-ops` prints the
// figures. Evaluation sums directly: its results are compared with others' to the digit.
template <class T>
int winograd_tile(const Nhwc& x, const Conv2d& op, const ConvKernelOptions& options) {
  const int64_t channels = std::min<int64_t>(x.c, op.out), enough = std::is_same_v<T, Bf16> ? 64 : 16;
  if (!options.training || op.kernel != 3 || op.stride != 1 || op.groups != 1 || channels < enough) return 0;
  return std::min(x.h, x.w) > 2 ? 4 : 2;
}

}  // namespace

template <class T>
std::unique_ptr<ConvKernel<T>> make_conv_kernel(const Nhwc& x_shape, const Conv2d& op,
                                                const ConvKernelOptions& options) {
  if (options.kernels == Kernels::onednn) {
    if (const int tile = winograd_tile<T>(x_shape, op, options))
      return std::make_unique<WinogradConv2d<T>>(x_shape, op, tile, options);
    return std::make_unique<OnednnConv2d<T>>(x_shape, op, options);
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
