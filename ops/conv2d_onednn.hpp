// Convolution by oneDNN: the fast path, same result as ops/conv2d.hpp up to rounding. Depthwise ones pass as many
// groups as channels.
#pragma once

#include <memory>
#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// One convolution of fixed shape. All its memory is allocated at construction, for the pool's thread count at that
/// time. Calls on one object must not overlap. Activations NHWC, weights OIHW as in ops/conv2d.hpp; weights are
/// reordered at every call, because a training step changes them: a small part of the work.
class OnednnConv2d {
 public:
  /// `training` also prepares backward_weights, and with `needs_dx` backward_data. Throws std::invalid_argument where
  /// oneDNN cannot do it.
  OnednnConv2d(const Nhwc& x_shape, const Conv2d& op, bool training, bool needs_dx);
  OnednnConv2d(OnednnConv2d&&) noexcept;
  OnednnConv2d& operator=(OnednnConv2d&&) noexcept;
  ~OnednnConv2d();

  // As in ops/conv2d.hpp: dx is overwritten, dweight and dbias are accumulated. Spans of the wrong size throw
  // std::invalid_argument. `bias` and `dbias` are empty exactly if the op has none.
  void forward(std::span<float> y, std::span<const float> x, std::span<const float> weight,
               std::span<const float> bias);
  void backward_data(std::span<float> dx, std::span<const float> dy, std::span<const float> weight);
  void backward_weights(std::span<float> dweight, std::span<float> dbias, std::span<const float> dy,
                        std::span<const float> x);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pleat
