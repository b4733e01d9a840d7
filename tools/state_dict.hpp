// PyTorch's state_dicts, saved as safetensors, with the names that Pleat's networks have.
#pragma once

#include <map>
#include <string>

#include "core/model.hpp"
#include "core/tensor.hpp"

namespace pleat {

struct StateDict {
  Tensors tensors;                           ///< By Pleat's names; PyTorch's step counters left out.
  std::map<std::string, std::string> names;  ///< Pleat's name to the file's.
  std::string source;                        ///< Whose names they were: a code base; empty if nothing told.
  std::string normalisation;  ///< What that code base's networks expect of their input: see import's --normalisation.
  Interpolation interpolation = Interpolation::bilinear;  ///< By which its published accuracies scale the pictures.
};

/// Reads `path` as weights of the network called `model`, whatever code base of those known wrote it. Throws
/// std::runtime_error for a bad file and for two tensors that get the same name.
StateDict read_state_dict(const std::string& path, const std::string& model);

}  // namespace pleat
