// Converts values from one type to another.
//   y = To(x), rounded to the nearest
// Shapes  x and y have the same shape, any.
#pragma once

#include <span>

#include "core/simd/bf16.hpp"

namespace pleat {

template <class To, class From>
void convert(std::span<To> y, std::span<const From> x);

}  // namespace pleat
