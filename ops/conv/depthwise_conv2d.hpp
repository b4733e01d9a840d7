// Depthwise convolution, one filter a channel: direct NHWC kernels, fastest for a kernel of 3 or 5 and a stride of 1
// or 2.
//   y[n,oy,ox,c] = bias[c] + sum over kh,kw of weight[c,0,kh,kw] * x[n, oy*stride + kh - top, ox*stride + kw - left, c]
// with zeros outside the picture.
// Shapes     x, dx [N,H,W,C]; y, dy [N,OH,OW,C]; weight, dweight [C,1,kernel,kernel]; bias, dbias [C].
//            OH = floor((H + top + bottom - kernel) / stride) + 1, OW likewise.
// Types      activations T: float, double or Bf16; parameters, their gradients and the workspace what T is computed in.
// Grads      dx is overwritten; dweight and dbias are accumulated (+=).
// Workspace  depthwise_conv2d_workspace elements, contents of no matter. It grows with the number of threads.
// Errors     std::invalid_argument if a span has the wrong size.
// Source     Howard et al. 2017, arXiv:1704.04861, section 3.1.
#pragma once

#include <cstdint>
#include <span>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"
#include "ops/conv/conv_hooks.hpp"

namespace pleat {

/// An empty `bias` is none. Hooks are called for a few lines at a time.
template <class T>
void depthwise_conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const compute_t<T>> weight,
                              std::span<const compute_t<T>> bias, const Nhwc& x_shape, const DepthwiseConv2d& op,
                              std::span<compute_t<T>> workspace, const PieceHooks& hooks = {});

template <class T>
void depthwise_conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const compute_t<T>> weight,
                                    const Nhwc& x_shape, const DepthwiseConv2d& op, std::span<compute_t<T>> workspace);

/// An empty `dbias` is none. Threads sum apart and are added in their order: same thread count, same bits.
template <class T>
void depthwise_conv2d_backward_weights(std::span<compute_t<T>> dweight, std::span<compute_t<T>> dbias,
                                       std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                                       const DepthwiseConv2d& op, std::span<compute_t<T>> workspace);

template <class T>
struct DepthwiseGradients {
  std::span<T> dx;  ///< Overwritten. If empty it is not computed.
  std::span<compute_t<T>> dweight, dbias;
};
/// Both, line by line, and the hooks.
template <class T>
void depthwise_conv2d_backward(const DepthwiseGradients<T>& gradients, std::span<const T> dy, std::span<const T> x,
                               std::span<const compute_t<T>> weight, const Nhwc& x_shape, const DepthwiseConv2d& op,
                               std::span<compute_t<T>> workspace, const PieceHooks& hooks);

/// Elements of workspace that any of them needs, for num_threads() threads at this time.
int64_t depthwise_conv2d_workspace(const Nhwc& x_shape, const DepthwiseConv2d& op);

}  // namespace pleat
