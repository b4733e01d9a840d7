// Convolution in plain C++ and BLAS: the definition that faster paths are checked against.
//   y[n,oy,ox,o] = bias[o] + sum over kh,kw,i of weight[o,i,kh,kw] * x[n, oy*stride + kh - top, ox*stride + kw - left,
//   i]
// with zeros outside the picture; with groups, output group g sees input group g alone.
// Shapes     x, dx [N,H,W,C]; y, dy [N,OH,OW,out]; weight, dweight [out,C/groups,kernel,kernel]; bias, dbias [out].
//            OH = floor((H + top + bottom - kernel) / stride) + 1, OW likewise.
// Grads      dx is overwritten; dweight and dbias are accumulated (+=).
// Workspace  conv2d_workspace elements, contents of no matter. It grows with the number of threads.
// Errors     std::invalid_argument if a span has the wrong size.
// Source     im2col: Chellapilla et al. 2006, "High performance convolutional neural networks for document processing".
#pragma once

#include <cstdint>
#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// An empty `bias` is none.
template <class T>
void conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const T> weight, std::span<const T> bias,
                    const Nhwc& x_shape, const Conv2d& op, std::span<T> workspace);

template <class T>
void conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const T> weight, const Nhwc& x_shape,
                          const Conv2d& op, std::span<T> workspace);

/// An empty `dbias` is none. Threads sum apart and are added in their order: same thread count, same bits.
template <class T>
void conv2d_backward_weights(std::span<T> dweight, std::span<T> dbias, std::span<const T> dy, std::span<const T> x,
                             const Nhwc& x_shape, const Conv2d& op, std::span<T> workspace);

/// Elements of workspace that any of the three needs, for num_threads() threads at this time.
int64_t conv2d_workspace(const Nhwc& x_shape, const Conv2d& op);

}  // namespace pleat
