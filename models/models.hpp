// The networks by name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/graph.hpp"

namespace pleat {

/// Every network's name, as `pleat list` prints it.
std::vector<std::string> model_names();

/// Choices that several families share; a network that has no such choice refuses it.
struct ModelOptions {
  bool projection = false;           ///< ResNet: skips that change shape are 1x1 convolutions instead of option A.
  std::optional<double> width = {};  ///< MobileNetV2: instead of the one in the name.
};

/// The graph of the network called `name`. Throws std::invalid_argument listing the names if there is none.
Graph make_model(const std::string& name, const Input& input, int classes, const ModelOptions& options = {});

}  // namespace pleat
