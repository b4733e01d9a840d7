// From one type of storage to another.
//   y = To(x), rounded to the nearest
// Shapes  x, y of any one shape.
#pragma once

#include <span>

#include "core/simd/bf16.hpp"

namespace pleat {

template <class To, class From>
void convert(std::span<To> y, std::span<const From> x);

}  // namespace pleat
