// The mean over a window, for each channel. Padding counts as zeros (PyTorch's count_include_pad=True), so that the op
// is a convolution and folds like one. Shapes  x,dx [N,H,W,C]; y,dy [N,H',W',C], H' = floor((H + top + bottom - kernel)
// / stride) + 1. Grads   dx is overwritten.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

template <class T>
void avg_pool2d_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape, const AvgPool2d& op);

template <class T>
void avg_pool2d_backward(std::span<T> dx, std::span<const T> dy, const Nhwc& x_shape, const AvgPool2d& op);

}  // namespace pleat
