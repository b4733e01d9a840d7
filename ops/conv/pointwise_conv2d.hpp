// Training's 1x1 convolution of stride 1 as a product of pixels with packed weights (ops/conv/gemm/tile_product.hpp),
// forward and backward to the input; backward to the weights as one of the two sides' channels
// (ops/conv/gemm/outer_product.hpp).
#pragma once

#include <span>

#include "ops/conv/conv_kernel.hpp"
#include "ops/conv/gemm/tile_product.hpp"

namespace pleat {

/// With any number of threads the same bits of activations; of weights, which each thread sums apart, with the same.
template <class T>
class PointwiseConv2d final : public ConvKernel<T> {
 public:
  /// 1x1, stride 1, no padding, groups or bias; channels multiples of 8, more than 8, on one side of 16; a CPU with
  /// AVX2.
  static bool is_supported(const Nhwc& x_shape, const Conv2d& op);

  /// Throws std::invalid_argument unless it is supported.
  PointwiseConv2d(const Nhwc& x_shape, const Conv2d& op, const ConvPasses& passes);

  ConvHooks take_hooks(ConvHooks offered) override;
  void begin_forward(std::span<const float> weight) override;
  void forward(std::span<T> y, std::span<const T> x, std::span<const float> bias, const Piece& piece) override;
  void begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) override;
  void backward_data(std::span<T> dx, std::span<const T> dy, const Piece& piece) override {
    backward(dx, dy, {}, piece);
  }
  void backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& piece) override {
    backward({}, dy, x, piece);
  }
  void backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const Piece& piece) override;
  void end_backward() override;

 private:
  void pack(std::span<const float> weight, bool turned);
  void multiply_packed(T* to, const T* from, int64_t pixels, int64_t in, int64_t out) const;
  template <class Body>
  void for_chunks(int64_t most, const Body& body) const;
  int64_t chunk() const;
  void add_to_sums(const T* dy, const T* x, int64_t pixels, int thread);
  // The gradient of the weights as each thread has it, [rows][lanes]: turned where y's channels fill registers better.
  std::span<float> sums(int thread) { return std::span(sums_).subspan(thread * in_ * out_, in_ * out_); }

  const ConvPasses passes_;
  const int64_t pixels_, in_, out_;
  const bool turned_;
  AlignedVector<T> packed_;   // of one direction at a time
  AlignedVector<T> rounded_;  // as they come; float needs none
  AlignedVector<float> zeros_, sums_;
  AlignedVector<T> interleaved_, zero_pixel_;  // [threads], a chunk of both sides; float needs none
  std::span<float> dweight_;
  ConvHooks hooks_;
};

}  // namespace pleat
