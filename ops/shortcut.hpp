// A skip connection without parameters: it pads or crops the picture, keeps every stride-th pixel, and adds channels of
// zeros before and after.
//   y[i,j, before + c] = x[i*stride - top, j*stride - left, c]     before = (out - C) / 2; zero elsewhere
// Shapes  x,dx [N,H,W,C]; y,dy [N,H',W',out], H' = floor((H + top + bottom - 1) / stride) + 1; pads may be negative.
// Grads   dx is overwritten.
// Source  He et al. 2015, arXiv:1512.03385, section 4.2, option A.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

template <class T>
void shortcut_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape, const Shortcut& op);

template <class T>
void shortcut_backward(std::span<T> dx, std::span<const T> dy, const Nhwc& x_shape, const Shortcut& op);

}  // namespace pleat
