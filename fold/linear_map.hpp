// Affine maps from pictures to pictures, in double: what any run of linear ops amounts to.
//
// Pictures are taken as functions on the whole plane. A map gives, at output position p,
//   y[o](p) = bias[o] + sum over offsets t and channels i of weight[o][t][i] * x[i](stride * p + t)
// A convolution of kernel k and padding p has the offsets -p .. k-1-p along each axis; a skip has the one offset 0.
// Bias is there outside the picture too, so a composition equals the network whose padding all stands at the first op.
// Algebra: batch norm W' = g*W, b' = g*(b - mean) + beta with g = gamma / sqrt(var + eps); the rest in compose and add.
#pragma once

#include <optional>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Offsets along one axis, both ends included. {0, -1} is none at all: a map of bias alone.
struct Offsets {
  int lo = 0, hi = 0;
  int size() const { return hi - lo + 1; }
  bool operator==(const Offsets&) const = default;
};

/// A map without its numbers. `groups` as in Conv2d: groups == in == out is a depthwise (diagonal) map.
struct MapShape {
  int in = 0, out = 0, groups = 1, stride = 1;
  Offsets rows, columns;
  /// Side of the square kernel that holds all offsets.
  int kernel() const { return rows.size() > columns.size() ? rows.size() : columns.size(); }
  int64_t inputs() const { return in / groups; }  ///< That an output reads: one group's,
  int64_t first_input(int64_t o) const { return o / (out / groups) * inputs(); }  ///< from this one on.
  /// Where the weights of output `o` at an offset begin, `inputs()` of them.
  int64_t weight_at(int64_t o, int row, int column) const {
    return ((o * rows.size() + row - rows.lo) * columns.size() + column - columns.lo) * inputs();
  }
  bool pointwise() const { return rows == Offsets{} && columns == Offsets{} && stride == 1; }
  bool operator==(const MapShape&) const = default;
};

struct LinearMap {
  MapShape shape;
  std::vector<double> weight;  ///< [out][row offset][column offset][in / groups]
  std::vector<double> bias;    ///< [out]
};

/// x -> x.
MapShape identity_shape(int channels);
LinearMap identity_map(int channels);

/// The op on an input of shape `in`; nullopt for what is not an affine map of one picture. Global pooling counts as the
/// identity (it commutes with pointwise maps, where alone groups allow it); so does flattening of a 1x1 picture.
std::optional<MapShape> map_shape(const Op& op, const Nhwc& in);

/// The same with its numbers, batch norm in evaluation form. Throws std::invalid_argument if map_shape is nullopt.
LinearMap linear_map(const Node& node, const Nhwc& in, const Tensors& tensors);

/// x -> second(first(x)): offsets first + first.stride * second, stride the product.
MapShape compose(const MapShape& second, const MapShape& first);
LinearMap compose(const LinearMap& second, const LinearMap& first);

/// x -> a(x) + b(x). Throws std::invalid_argument unless channels and strides agree.
MapShape add(const MapShape& a, const MapShape& b);
LinearMap add(const LinearMap& a, const LinearMap& b);

/// The map with only those of its weights that lie at both `rows` and `columns`; the bias is the same.
LinearMap crop(const LinearMap& map, const Offsets& rows, const Offsets& columns);

/// The weights as a square kernel [out, in / groups, kernel, kernel] whose first tap is the lowest offset of each axis.
Tensor kernel_tensor(const LinearMap& map);
Tensor bias_tensor(const LinearMap& map);

}  // namespace pleat
