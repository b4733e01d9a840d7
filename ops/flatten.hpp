// Each picture as one row, in PyTorch's order (channel, row, column), so that its classifiers load by name.
// Shapes  x,dx [N,H,W,C] of type T (double, float, Bf16); y,dy [N,1,1,C*H*W] of compute_t<T>; y[c*H*W + h*W + w] =
// x[h,w,c]. Grads   dx, overwritten.
#pragma once

#include <span>

#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"

namespace pleat {

template <class T>
void flatten_forward(std::span<compute_t<T>> y, std::span<const T> x, const Nhwc& x_shape);

template <class T>
void flatten_backward(std::span<T> dx, std::span<const compute_t<T>> dy, const Nhwc& x_shape);

}  // namespace pleat
