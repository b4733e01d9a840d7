// A network with its weights, and the one file that holds both.
//
// The file is a safetensors file: a tensor a parameter, and in `__metadata__`
//   pleat.graph      the graph's text (core/graph.hpp)
//   pleat.mean/.std  input normalisation, one number a channel, comma-separated: x = (pixel/255 - mean) / std
//   pleat.classes    class names, one a line; empty where unknown
//   anything else    provenance: command, seed, recipe, versions, metrics
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
  std::vector<float> mean, std;              ///< One a channel of the input.
  std::vector<std::string> classes;          ///< Empty or one an output.
  std::map<std::string, std::string> notes;  ///< Provenance.
};

/// Reads and verifies a model file. Throws std::runtime_error naming the file and the reason.
Model load_model(const std::string& path);

/// Writes a model file: temporary name, fsync, rename. Throws std::runtime_error; an existing file stays whole then.
void save_model(const std::string& path, const Model& model);

}  // namespace pleat
