// The block of MobileNetV2 and EfficientNet-lite: Sandler et al. 2018, "MobileNetV2: Inverted residuals and linear
// bottlenecks", arXiv:1801.04381, section 3.
#pragma once

#include <string>

#include "core/graph.hpp"

namespace pleat {

/// What a family calls the parts of a block, each behind the block's own name.
struct InvertedResidualNames {
  const char *expand, *expand_norm, *depthwise, *depthwise_norm, *project, *project_norm;
};

struct InvertedResidual {
  std::string name;
  int in = 0, out = 0;  ///< Channels.
  int kernel = 3, stride = 1;
  int expand = 6;  ///< Channels between are so many times `in`; 1: there is no expansion layer.
  BatchNorm norm = {};
};

/// Appends `project(relu6(depthwise(relu6(expand x))))`, plus x where stride and channels leave its shape alone;
/// returns the last node. The activations share one alpha, `name.alpha`: the block folds as a whole.
int inverted_residual(Graph& g, int x, const InvertedResidual& block, const InvertedResidualNames& names);

/// Appends a convolution, a batch norm and a ReLU6 (foldable if it has an `alpha`); returns the last node.
int conv_norm_relu6(Graph& g, int x, const std::string& conv_name, const Op& conv, const std::string& norm_name,
                    const BatchNorm& norm, const std::string& act_name, const std::string& alpha = "");

}  // namespace pleat
