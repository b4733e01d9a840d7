// The linear (fully connected) layer.
//   y = x W^T + b
// Shapes  x,dx [n,in]; y,dy [n,out]; weight,dweight [out,in]; bias,dbias [out], or empty if the op has none.
// Grads   Those of weight and bias are added to dweight and dbias; dx is overwritten, or empty where nobody needs it.
#pragma once

#include <cstdint>
#include <span>

#include "core/graph.hpp"

namespace pleat {

template <class T>
void linear_forward(std::span<T> y, std::span<const T> x, std::span<const T> weight, std::span<const T> bias, int64_t n,
                    int64_t in, const Linear& op);

template <class T>
void linear_backward(std::span<T> dx, std::span<T> dweight, std::span<T> dbias, std::span<const T> dy,
                     std::span<const T> x, std::span<const T> weight, int64_t n, int64_t in, const Linear& op);

}  // namespace pleat
