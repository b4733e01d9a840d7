// The sum of two values: y = a + b.
// Shapes  y, a and b have the same shape, any; y may be a or b.
// Grads   da = db = dy. The executor hands dy on, so there is nothing to compute.
#pragma once

#include <span>

namespace pleat {

template <class T>
void add_forward(std::span<T> y, std::span<const T> a, std::span<const T> b);

}  // namespace pleat
