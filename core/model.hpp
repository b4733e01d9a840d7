// A network with its weights and what is needed to use it. Its file: ops/model_file.hpp.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// How pictures are resized, always antialiased.
enum class Interpolation { bilinear, bicubic };
inline const char* to_string(Interpolation interpolation) {
  return interpolation == Interpolation::bicubic ? "bicubic" : "bilinear";
}

/// The middle part of a picture's shorter side that a network of this input size usually sees: 0.875 for ImageNet's
/// sizes, all of it for small ones.
inline double usual_crop(const Input& input) {
  return input.height >= 128 ? 0.875 : 1;
}

struct Model {
  Graph graph;
  Tensors tensors;
  std::vector<float> mean, std;  ///< One a channel of the input: x = (pixel/255 - mean) / std.
  double crop = 1;               ///< The middle part of a picture's shorter side that becomes the input; 0 to 1.
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<std::string> classes;          ///< Empty or one an output.
  std::map<std::string, std::string> notes;  ///< Provenance: command, seed, recipe, versions, metrics.
};

}  // namespace pleat
