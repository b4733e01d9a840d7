// The linear maps of Winograd's convolution of a 3x3 kernel, F(2x2,3x3) and F(4x4,3x3): one tile at a time, all its
// channels. A tile of m x m outputs sees (m+2) x (m+2) inputs and becomes that many "points", at which channels are
// multiplied and summed. In one dimension
//   y = A^T [(G g) * (B^T d)]
// and so the gradients are dg = G^T [(B^T d) * (A dy)], while dd is the convolution of dy with the rotated kernel. In
// two dimensions each map is applied to the columns and then to the rows.
// Source  Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
// Private to ops/conv/winograd/winograd_conv2d.cpp, ops/conv/winograd/winograd_bf16.cpp and
// ops/conv/winograd/winograd_pass.cpp.
#pragma once

#include <cstdint>

#include "ops/activation.hpp"

namespace pleat {

/// The points of one tile: point p, channel c is data[p * point + c / 16 * panel + c % 16]
/// (ops/conv/gemm/panel_gemm.hpp). Channels are rounded up to whole panels; what is beyond the last is written as zero
/// and not read.
struct TilePoints {
  float* data;
  int64_t point, panel;
};

/// Sixteen filters, or their gradients: tap t of filter l is data[l * filter + t].
template <class T>
struct Filters {
  T* data;
  int64_t filter;
  int64_t count;  ///< up to 16; the rest of the panel are zeros
};

/// What becomes of an output before it is stored.
struct Epilogue {
  const float* bias = nullptr;  ///< By channel, or none.
  bool adds = false;            ///< To what is there already.
  Activation act = {};
};

/// Pixels are row-major lists of pointers to their channels, of type T: float or Bf16.
template <class T>
struct WinogradTransforms {
  int outputs, inputs, edge;  ///< of a tile: edges of its outputs, inputs and points
  int border;                 ///< inputs left out on each side because they are always padding
  int points() const { return edge * edge; }

  /// B^T d B of the tile's inputs.
  void (*input)(const TilePoints& v, const T* const* pixels, int64_t channels);
  /// A^T m A to the tile's outputs; a null pixel is left out.
  void (*output)(T* const* pixels, const TilePoints& m, const Epilogue& epilogue, int64_t channels);
  /// G g G^T, of filters rotated by half a turn if asked for, to one row of a panel a point, the points `point` apart.
  void (*weight)(float* u, int64_t point, const Filters<const float>& filters, bool rotated);
};

/// What training needs besides; the engine does not link it.
template <class T>
struct WinogradGradients {
  /// A dy A^T of the gradients of the tile's outputs.
  void (*gradient)(const TilePoints& v, const T* const* pixels, int64_t channels);
  /// Adds G^T du G to the filters' gradients.
  void (*weight_gradient)(const Filters<float>& filters, const float* du, int64_t point);
};

/// For tiles of 2x2 or 4x4 outputs; std::invalid_argument for others. Pictures of 2x2 with a padding of 1 on all sides,
/// which are one tile, take 9 points, not 16.
template <class T>
WinogradTransforms<T> winograd_transforms(int outputs, bool are_padded_2x2);
template <class T>
WinogradGradients<T> winograd_gradients(int outputs, bool are_padded_2x2);

}  // namespace pleat
