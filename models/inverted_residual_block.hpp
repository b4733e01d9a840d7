// The inverted residual block, from which MobileNetV2 and EfficientNet-lite are built: a 1x1 convolution expands the
// channels, a depthwise convolution filters each of them, and another 1x1 convolution projects them to few again.
// Source: Sandler et al. 2018, "MobileNetV2: Inverted residuals and linear bottlenecks", arXiv:1801.04381, section 3.
//
// This file builds the block as nodes of a graph. The engine's fast form is fold/engine/fused_inverted_residual.hpp.
#pragma once

#include <string>

#include "core/graph.hpp"

namespace pleat {

/// The names that a model family gives to the layers of a block. Each is a suffix to the block's own name.
struct InvertedResidualNames {
  const char *expand, *expand_norm, *depthwise, *depthwise_norm, *project, *project_norm;
};

/// The sizes of one block.
struct InvertedResidual {
  std::string name;
  int in = 0, out = 0;         ///< Input and output channels.
  int kernel = 3, stride = 1;  ///< Of the depthwise convolution.
  int expand = 6;              ///< The block has `expand * in` channels inside; with 1 it has no expansion layer.
  BatchNorm norm = {};
};

/// Appends `project(relu6(depthwise(relu6(expand(x)))))` to the graph, with a batch norm after each convolution. Where
/// the block keeps the shape of x, x is added to the result. Returns the last node. Both activations share one alpha,
/// `name.alpha`, so that the block is folded as a whole or not at all.
int inverted_residual(Graph& g, int x, const InvertedResidual& block, const InvertedResidualNames& names);

/// Appends a convolution, a batch norm and a ReLU6 and returns the last node. The ReLU6 is foldable if `alpha`, the
/// name of its parameter, is not empty.
int conv_norm_relu6(Graph& g, int x, const std::string& conv_name, const Op& conv, const std::string& norm_name,
                    const BatchNorm& norm, const std::string& act_name, const std::string& alpha = "");

}  // namespace pleat
