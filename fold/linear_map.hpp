// Affine maps from pictures to pictures, in double precision. Every linear op is one, and so is every sum and every
// chain of linear ops; merging a group means to compute its map with `compose` and `add`.
//
// A picture is taken as a function on the whole plane, which is zero outside the picture. The map gives, at position p,
//   y[o](p) = bias[o] + sum over offsets t and channels i of weight[o][t][i] * x[i](stride * p + t).
// A convolution with kernel size k and padding q has the offsets -q .. k-1-q along each axis; a skip has only the
// offset 0. The output of a map has its bias outside the picture too. Therefore the composition of two maps equals the
// network in which all padding is at the first op, not the network in which each op pads its own input with zeros
// (fold/move_padding.hpp). A batch norm is the map with weight g and bias beta - g * mean, where g = gamma / sqrt(var +
// eps).
#pragma once

#include <optional>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// The offsets lo to hi along one axis, both included. {0, -1} has no offset at all: the map is its bias.
struct Offsets {
  int lo = 0, hi = 0;
  int size() const { return hi - lo + 1; }
  bool operator==(const Offsets&) const = default;
};

/// A map without its numbers. `groups` means the same as in Conv2d; with groups == in == out the map is diagonal
/// (depthwise).
struct MapShape {
  int in = 0, out = 0, groups = 1, stride = 1;
  Offsets rows, columns;
  /// Side of the square kernel that holds all offsets.
  int kernel() const { return rows.size() > columns.size() ? rows.size() : columns.size(); }
  int64_t inputs() const { return in / groups; }  ///< How many channels an output reads: those of its group.
  int64_t first_input(int64_t o) const { return o / (out / groups) * inputs(); }  ///< The first of them.
  /// The index of the first of the `inputs()` weights of output `o` at an offset.
  int64_t weight_at(int64_t o, int row, int column) const {
    return ((o * rows.size() + row - rows.lo) * columns.size() + column - columns.lo) * inputs();
  }
  bool pointwise() const { return rows == Offsets{} && columns == Offsets{} && stride == 1; }
  bool operator==(const MapShape&) const = default;
};

/// A map with its numbers.
struct LinearMap {
  MapShape shape;
  std::vector<double> weight;  ///< [out][row offset][column offset][in / groups]
  std::vector<double> bias;    ///< [out]
};

/// The identity x -> x.
MapShape identity_shape(int channels);
LinearMap identity_map(int channels);

/// The map of an op for an input of shape `in`, or nullopt if the op is not an affine map of one picture. Global
/// pooling counts as the identity: it commutes with pointwise maps, and groups allow it only among those. Flattening a
/// picture of 1x1 pixels is the identity too.
std::optional<MapShape> map_shape(const Op& op, const Nhwc& in);

/// The same with its numbers; batch norms use their running statistics. Throws std::invalid_argument if map_shape is
/// nullopt.
LinearMap linear_map(const Node& node, const Nhwc& in, const Tensors& tensors);

/// The map x -> second(first(x)). Its offsets are first + first.stride * second, and its stride is the product of the
/// strides. Throws std::invalid_argument unless the channels match.
MapShape compose(const MapShape& second, const MapShape& first);
LinearMap compose(const LinearMap& second, const LinearMap& first);

/// The map x -> a(x) + b(x). Throws std::invalid_argument unless channels and strides are equal.
MapShape add(const MapShape& a, const MapShape& b);
LinearMap add(const LinearMap& a, const LinearMap& b);

/// The map with only the weights whose offsets are in both `rows` and `columns`; the bias is unchanged.
LinearMap crop(const LinearMap& map, const Offsets& rows, const Offsets& columns);

/// The weights as a square kernel [out, in / groups, kernel, kernel] whose first tap is the lowest offset of each axis.
Tensor kernel_tensor(const LinearMap& map);

/// The bias [out], rounded to float.
Tensor bias_tensor(const LinearMap& map);

}  // namespace pleat
