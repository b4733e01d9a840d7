// The two ways in which published networks pad.
#pragma once

#include "core/graph.hpp"

namespace pleat {

enum class PaddingStyle {
  symmetric,  ///< PyTorch's: (kernel - 1) / 2 on every side.
  same,       ///< TensorFlow's SAME: output ceil(size / stride), an odd pixel at the bottom and on the right.
};

/// Pads every convolution and pooling of `graph` in that style. Throws std::invalid_argument if that would change the
/// shape of any node's output.
void set_padding(Graph& graph, PaddingStyle style);

}  // namespace pleat
