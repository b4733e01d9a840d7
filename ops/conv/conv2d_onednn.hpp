// Convolution by oneDNN: the fast path, same result as ops/conv/conv2d.hpp up to rounding. Depthwise ones pass as many
// groups as channels. In Bf16 products are summed in f32, weights rounded to Bf16 once a pass, their gradient f32.
#pragma once

#include <memory>
#include <span>

#include "ops/conv/conv_kernel.hpp"

namespace pleat {

/// Activations NHWC, weights OIHW; weights are packed into oneDNN's order once a pass, and their gradient summed in it.
/// Each thread calls oneDNN for a slice of the piece (core/onednn_slices.hpp); gradients of the slices are added in
/// their order.
template <class T>
class OnednnConv2d final : public ConvKernel<T> {
 public:
  /// Throws std::invalid_argument where oneDNN cannot do it.
  OnednnConv2d(const Nhwc& x_shape, const Conv2d& op, const ConvPasses& passes);
  ~OnednnConv2d() override;

  void begin_forward(std::span<const float> weight) override;
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias, const Piece& piece) override;
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override;
  void backward_data(std::span<T> dx, std::span<const T> dy, const Piece& piece) override;
  void backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& piece) override;
  void end_backward() override;

 private:
  struct SliceCall;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pleat
