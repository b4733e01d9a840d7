// The maximum over a window, for each channel. Padding is never the maximum; a NaN in the window always is.
// Shapes  x,dx [N,H,W,C]; y,dy [N,H',W',C], H' = floor((H + top + bottom - kernel) / stride) + 1. Every pad is smaller
//         than the kernel (infer_shapes checks it), so that a window never sees padding alone.
// Grads   dx is overwritten. Each dy goes to the first maximum of its window in row order, as in PyTorch; the maximum
// is
//         found again from x rather than stored.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

template <class T>
void max_pool2d_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape, const MaxPool2d& op);

template <class T>
void max_pool2d_backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                         const MaxPool2d& op);

}  // namespace pleat
