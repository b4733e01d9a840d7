// The correction that makes a merged convolution exact at the borders. Per position, with zeros outside the picture:
//   y[n,r,c,o] = bias[class of r][class of c][o] + sum over the patches that hold (r,c), their taps t and inputs i of
//                weight[t of the patch's set for (r,c)][i][o] * x[n, position of t, i]
// Along an axis the first `ring` positions are each of a class of their own, so are the last, and all between are one.
// The patches: of rows the first of the ring, all, or the last; of columns likewise; not all of both. "All" slides the
// convolution's window with one set of weights; a part of the ring has a set for each position, which reads the fixed
// band of the input within `reach`. So edges have thin kernels and corners small ones: what zero padding takes away
// passed through positions outside of the picture, and those see little of it.
// Shapes     x, dx [N,H,W,C]; y, dy [N,OH,OW,out] as of the convolution; weight [taps, C/groups, out] by patch, set,
//            tap (none without taps); bias [row classes, column classes, out].
// Grads      dx is overwritten; dweight and dbias are accumulated (+=).
// Errors     std::invalid_argument if a span has the wrong size.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Output positions of one axis: some of the ring, with weights for each and a fixed window (step 0), or all, with the
/// same weights and a window that slides.
struct BorderPart {
  int64_t first, count;       ///< Positions.
  int64_t sets;               ///< Of weights.
  int64_t start, step, taps;  ///< Position p reads the inputs start + step * p and taps - 1 behind.
  bool holds(int64_t p) const { return p >= first && p < first + count; }
  int64_t set(int64_t p) const { return (p - first) % sets; }
  int64_t window(int64_t p) const { return start + step * p; }
};

struct BorderPatch {
  BorderPart rows, columns;
  int64_t first_tap;  ///< In the weights.
  /// The first of the taps [window row][window column] of output position (r, c).
  int64_t tap(int64_t r, int64_t c) const {
    return first_tap + (rows.set(r) * columns.sets + columns.set(c)) * rows.taps * columns.taps;
  }
};

/// The op's sizes on an input.
struct BorderGeometry {
  BorderGeometry(const Nhwc& x, const BorderConv2d& op);
  Nhwc x, y;
  Padding ring;
  std::array<BorderPatch, 8> patches;          ///< By rows, in each by columns.
  int64_t taps;                                ///< Of all patches, all sets.
  int64_t row_classes, column_classes;         ///< Of the bias.
  int64_t macs(const BorderConv2d& op) const;  ///< Of one picture; once the weights are known to be of a possible size.
  int64_t bias_class(int64_t r, int64_t c) const;  ///< Row of the bias [classes, out].
};

template <class T>
void border_conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const compute_t<T>> weight,
                           std::span<const compute_t<T>> bias, const Nhwc& x_shape, const BorderConv2d& op);

template <class T>
void border_conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const compute_t<T>> weight,
                                 const Nhwc& x_shape, const BorderConv2d& op);

template <class T>
void border_conv2d_backward_weights(std::span<compute_t<T>> dweight, std::span<compute_t<T>> dbias,
                                    std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                                    const BorderConv2d& op);

}  // namespace pleat
