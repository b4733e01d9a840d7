// Convolution of a 3x3 kernel with stride 1 by Winograd's algorithm: F(2x2,3x3) multiplies 2.25 times less than the
// direct sum, F(4x4,3x3) four times less, at the price of transforming pictures, weights and gradients to and fro. It
// pays where there are many channels, and pictures that tiles of 2x2 or 4x4 fill.
// Rounding  Errors of F(2x2) are no larger than the direct sum's in f32, those of F(4x4) up to twice as large: with 512
//           channels 4e-6 of the largest value, with 64 2e-6.
// Source    Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
#pragma once

#include <memory>
#include <span>

#include "ops/conv_kernel.hpp"
#include "ops/winograd_transforms.hpp"

namespace pleat {

/// Activations NHWC, weights OIHW; everything between the transforms is in float. Calls out of order throw
/// std::invalid_argument. With the same thread count at construction, the same bits.
template <class T>
class WinogradConv2d final : public ConvKernel<T> {
 public:
  /// `tile` is 2 or 4, for F(2x2) or F(4x4). Throws std::invalid_argument for another kernel than 3x3, a stride or
  /// groups.
  /// For infer alone, it needs no passes but forward's weights: without `trains` it keeps no workspace of its own.
  WinogradConv2d(const Nhwc& x_shape, const Conv2d& op, int tile, const ConvPasses& passes, bool trains = true);
  ~WinogradConv2d() override;

  /// Floats of workspace that infer needs.
  int64_t workspace_size() const;

  /// y = act(convolution + bias, + y if it adds), with the weights of the last begin_forward. Several threads may call
  /// it at once, with workspaces of their own.
  void infer(std::span<T> y, std::span<const T> x, const Epilogue& epilogue, std::span<float> workspace) const;

  void begin_forward(std::span<const float> weight) override;
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias) override;
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override;
  void backward_data(std::span<T> dx, std::span<const T> dy) override;
  void backward_weights(std::span<const T> dy, std::span<const T> x) override;
  void end_backward() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pleat
