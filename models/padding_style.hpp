// Published networks pad their convolutions in one of two styles, PyTorch's or TensorFlow's. This file rewrites the
// padding attributes of a whole graph to one of them, which an imported checkpoint may need.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// How many zeros stand on each side of a convolution's or pooling's input.
enum class PaddingStyle {
  symmetric,  ///< PyTorch's usual padding: (kernel - 1) / 2 on every side.
  same,  ///< TensorFlow's SAME: as much as makes the output ceil(size / stride) pixels wide and high. Where the total
         ///< is odd, the bottom and the right side get one more than the top and the left.
};

/// Sets the padding of every convolution and pooling of `graph` to that style. Throws std::invalid_argument if that
/// would change the shape of any node's output.
void set_padding(Graph& graph, PaddingStyle style);

}  // namespace pleat
