// The mean over the whole picture, for each channel.
// Shapes  x,dx [N,H,W,C] of type T (double, float, Bf16); y,dy [N,1,1,C] of compute_t<T>.
// Grads   dx = dy / (H*W) at every pixel; it is overwritten.
#pragma once

#include <span>

#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"

namespace pleat {

template <class T>
void global_avg_pool_forward(std::span<compute_t<T>> y, std::span<const T> x, const Nhwc& x_shape);

template <class T>
void global_avg_pool_backward(std::span<T> dx, std::span<const compute_t<T>> dy, const Nhwc& x_shape);

}  // namespace pleat
