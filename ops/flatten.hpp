// Makes each picture one row, in PyTorch's order (channel, row, column), so that the weights of PyTorch's classifiers
// fit without being rearranged.
//   y[c*H*W + h*W + w] = x[h,w,c]
// Shapes  x,dx [N,H,W,C] of type T (double, float, Bf16); y,dy [N,1,1,C*H*W] of compute_t<T>.
// Grads   dx is overwritten.
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
