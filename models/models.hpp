// The catalogue of built-in networks: their names, and a function that builds the graph for a name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/graph.hpp"

namespace pleat {

/// The names of all networks, in the order in which `pleat list` prints them.
std::vector<std::string> model_names();

/// Choices beyond the name. Only some families have them; make_model refuses a choice that the network does not have.
struct ModelOptions {
  bool projection = false;           ///< ResNet only: skips that change the shape are 1x1 convolutions (option B).
  std::optional<double> width = {};  ///< MobileNetV2 only: the width, instead of the one in the name.
};

/// Builds the graph of the network called `name` for pictures of size `input` and `classes` outputs. Throws
/// std::invalid_argument, listing the known names, if there is no such network.
Graph make_model(const std::string& name, const Input& input, int classes, const ModelOptions& options = {});

}  // namespace pleat
