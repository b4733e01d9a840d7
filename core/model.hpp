// A network with its weights and what is needed to use it. Its file: ops/model_file.hpp.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

struct Model {
  Graph graph;
  Tensors tensors;
  std::vector<float> mean, std;              ///< One a channel of the input: x = (pixel/255 - mean) / std.
  std::vector<std::string> classes;          ///< Empty or one an output.
  std::map<std::string, std::string> notes;  ///< Provenance: command, seed, recipe, versions, metrics.
};

}  // namespace pleat
