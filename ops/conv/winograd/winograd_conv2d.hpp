// Training's convolution of a 3x3 kernel with stride 1 by Winograd's algorithm: ops/conv/winograd/winograd_pass.hpp
// both ways, and the gradient of the weights.
#pragma once

#include <memory>
#include <span>

#include "ops/conv/conv_kernel.hpp"

namespace pleat {

/// Calls out of order throw std::invalid_argument. With the same thread count at construction, the same bits.
template <class T>
class WinogradConv2d final : public ConvKernel<T> {
 public:
  /// Throws as WinogradPass does.
  WinogradConv2d(const Nhwc& x_shape, const Conv2d& op, int tile, const ConvPasses& passes);
  ~WinogradConv2d() override;

  void begin_forward(std::span<const float> weight) override;
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias, const Piece& piece) override;
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override;
  void backward_data(std::span<T> dx, std::span<const T> dy, const Piece& piece) override;
  void backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& piece) override;
  void end_backward() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pleat
