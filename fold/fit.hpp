// Fitting instead of composing. A group whose activations are dropped can be replaced by the one convolution whose
// output comes nearest, in least squares over pictures, to what the group gave with its activations. Its kernel need
// not be the composed one: a 3x3 can stand for two 3x3 and their skip, with half of their multiply-accumulates.
//
// Let u be the window of the input that an output pixel reads, a vector of kernel * kernel * in numbers, and y the
// output pixel, both centred on their means over all pixels of all pictures. Ridge regression finds
//   W = (mean(u u^T) + mu I)^-1 mean(u y^T)
// in closed form. Only these means are kept, in double, however many pictures there are. A least-squares fit shrinks
// what it cannot predict, so each output channel is then scaled by the square root of std(y) / std(W^T u), which goes
// half of the way back to its spread in the original.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.hpp"
#include "fold/linear_map.hpp"

namespace pleat {

/// `map` with its window cut to the middle `kernel` offsets along each axis that has more.
MapShape middle(MapShape map, int kernel);

class ConvolutionFit {
 public:
  /// A convolution of the geometry `map` (of one group) from pictures of shape `x` to pictures of shape `y`. Throws
  /// std::invalid_argument if the equations would need more than 2 GB.
  ConvolutionFit(const MapShape& map, const Nhwc& x, const Nhwc& y);

  /// Adds inputs [pictures, x.h, x.w, x.c] and the outputs [pictures, y.h, y.w, y.c] that are wanted for them.
  void add(std::span<const float> x, std::span<const float> y, int64_t pictures);

  struct Result {
    LinearMap map;
    double unexplained = 0;  ///< The fraction of the outputs' variance that the fit leaves, 0 to 1, before scaling.
    std::vector<double> mean = {}, variance = {};  ///< Of each output channel of `map`, over all pixels and pictures.
  };
  /// Solves the equations. `ridge` is mu as a multiple of the mean variance of the window's numbers, and is above 0.
  /// Throws std::runtime_error if the pictures do not determine a convolution, because the inputs are constant or there
  /// were fewer windows than unknowns.
  Result solve(double ridge) const;

 private:
  void add_rows(std::span<const double> windows, std::span<const double> outputs, int64_t rows);
  void gather(std::span<double> windows, std::span<double> outputs, std::span<const float> x, std::span<const float> y,
              int64_t first_row, int64_t rows) const;

  MapShape map_;
  Nhwc x_, y_;
  int64_t width_;                            // length of u, with a constant 1 behind its numbers for the bias
  int64_t count_ = 0;                        // windows seen
  AlignedVector<double> uu_, yu_;            // sums: [width, width], [out, width]
  std::vector<double> yy_;                   // sums of squares, [out]
  AlignedVector<double> windows_, outputs_;  // a chunk of rows
};

}  // namespace pleat
