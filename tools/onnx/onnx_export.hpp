// A Pleat model as an ONNX file, for other runtimes.
//   Layout    pictures NCHW, any number of them; weights as they are, OIHW. The output is [N, classes], or NCHW if it
//             has more than one pixel.
//   Names     nodes as in the graph, what one node needs besides with '/' behind; parameters as in the model file.
//   Changes   batch norms are folded into the convolutions before them, as the engine does: what inference gains from.
//   Metadata  those of a model file (ops/model_file.hpp): graph, mean, std, classes, provenance.
#pragma once

#include <string>

#include "core/model.hpp"

namespace pleat {

struct OnnxFile {
  std::string bytes = {};
  int nodes = 0;
  int opset = 0;
};

/// Throws std::invalid_argument for a bad model, or one that does not fit: above 2 GB, or two names that become one.
OnnxFile to_onnx(const Model& model);

}  // namespace pleat
