// How a convolution that is computed as a product (ops/conv/gemm/tile_product.hpp) sees a picture: what a line of the
// kernel sees lies side by side in a line of the picture, once there are zeros around it.
#pragma once

#include <cstdint>
#include <span>

#include "core/graph.hpp"
#include "core/parallel.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Pixels of a line of x [.., W, C] with its borders, for outputs of `out_width`.
int64_t bordered_width(const Conv2d& op, const Nhwc& x, int64_t out_width);

/// Lines of a picture, one behind the other, `pitch` elements each: after pad.left pixels of zeros the line, then
/// zeros. Lines above and below the picture are zeros.
template <class T>
void copy_bordered(T* to, int64_t pitch, const T* picture, const Nhwc& x, const Padding& pad, const Range& lines);

/// OIHW weights as [out][line of the kernel][run]: what a line sees, column by column, then zeros up to `run`.
AlignedVector<float> weights_by_line(std::span<const float> weight, const Conv2d& op, int64_t in, int64_t run);

}  // namespace pleat
