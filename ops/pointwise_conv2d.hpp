// Training's 1x1 convolution of stride 1 as a product of pixels with packed weights (ops/tile_product.hpp), forward and
// backward to the input.
#pragma once

#include <span>

#include "ops/conv_kernel.hpp"
#include "ops/tile_product.hpp"

namespace pleat {

/// The gradient of the weights is not its own: backward_weights and end_backward throw std::invalid_argument. With any
/// number of threads the same bits.
template <class T>
class PointwiseConv2d final : public ConvKernel<T> {
 public:
  /// 1x1, stride 1, no padding, groups or bias; channels multiples of 8, more than 8; a CPU with AVX2.
  static bool is_supported(const Nhwc& x_shape, const Conv2d& op);

  /// Throws std::invalid_argument unless it is supported.
  PointwiseConv2d(const Nhwc& x_shape, const Conv2d& op);

  void begin_forward(std::span<const float> weight) override;
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias) override;
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override;
  void backward_data(std::span<T> dx, std::span<const T> dy) override;
  void backward_weights(std::span<const T> dy, std::span<const T> x) override;
  void end_backward() override;
  void tell(const Written& y, const Written& dx) override;

 private:
  void pack(std::span<const float> weight, bool turned);
  void run(std::span<T> to, std::span<const T> from, int64_t in, int64_t out, const Written& written) const;

  const int64_t pixels_, in_, out_;
  AlignedVector<T> packed_;   // of one direction at a time
  AlignedVector<T> rounded_;  // as they come; float needs none
  AlignedVector<float> zeros_;
  Written y_written_, dx_written_;
};

}  // namespace pleat
