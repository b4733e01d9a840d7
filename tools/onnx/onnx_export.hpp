// Converts a Pleat model to an ONNX file for other runtimes.
//   Layout    The input is NCHW with any number of pictures; weights are OIHW, as in Pleat. The output is [N, classes],
//   or
//             NCHW if it has more than one pixel.
//   Names     Nodes and parameters keep their names. If a node becomes several ONNX nodes, the others have its name
//   with
//             '/' and a suffix.
//   Changes   Batch norms are merged into the convolutions before them, as in the engine, so inference is faster.
//   Metadata  The file has the metadata of a model file (ops/model_file.hpp): graph, mean, std, classes and notes.
#pragma once

#include <string>

#include "core/model.hpp"

namespace pleat {

struct OnnxFile {
  std::string bytes = {};  ///< The content of the file.
  int nodes = 0;           ///< The number of ONNX nodes.
  int opset = 0;           ///< The ONNX operator set that they use.
};

/// Throws std::invalid_argument if the model is invalid, if the file would exceed protobuf's 2 GB, or if two ONNX nodes
/// would have the same name.
OnnxFile to_onnx(const Model& model);

}  // namespace pleat
