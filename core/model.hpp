// A model: a network's graph, its weights, and what is needed to prepare pictures for it. ops/model_file.hpp reads and
// writes its file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// The filter with which pictures are resized. Resizing is always antialiased.
enum class Interpolation { bilinear, bicubic };
inline const char* to_string(Interpolation interpolation) {
  return interpolation == Interpolation::bicubic ? "bicubic" : "bilinear";
}

/// The usual Model::crop for networks with this input size: 0.875 for the sizes of ImageNet networks, 1 for small ones.
inline double usual_crop(const Input& input) {
  return input.height >= 128 ? 0.875 : 1;
}

/// A network with its weights.
struct Model {
  Graph graph;
  Tensors tensors;
  std::vector<float> mean, std;  ///< One number per input channel: x = (pixel/255 - mean) / std.
  double crop = 1;  ///< The middle part of a picture's shorter side that becomes the input, above 0 and at most 1.
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<std::string> classes;          ///< The names of the outputs; may be empty.
  std::map<std::string, std::string> notes;  ///< Where the model comes from: command, seed, recipe, versions, metrics.
};

}  // namespace pleat
