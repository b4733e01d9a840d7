// Sum of two activations: y = a + b.
// Shapes  y,a,b of one shape; y may be a or b.
// Grads   da = db = dy: the executor passes dy on, there is nothing to compute.
#pragma once

#include <span>

namespace pleat {

template <class T>
void add_forward(std::span<T> y, std::span<const T> a, std::span<const T> b);

}  // namespace pleat
