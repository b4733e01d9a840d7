// A state_dict's tensors become a network's parameters.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/state_dict.hpp"

namespace pleat {

struct LoadedStateDict {
  std::vector<std::string> unused;  ///< The file's names of what was left out: as asked, or for its type.
  bool has_alphas = false;          ///< The file has alphas; else all are 0.
};

/// Moves the parameters of model.graph out of `state` into model.tensors. Batch norms that were folded into their
/// convolutions become the identity, and a bias of a convolution before a batch norm goes into the running mean, both
/// without changing what the network computes. Throws std::runtime_error, naming the tensor, for one that is missing,
/// has another shape or a type that is not read, is not finite, a variance below 0 or an alpha outside 0 to 1; and for
/// every tensor that is left over, unless its name in the file matches one of `ignore` (as a shell's patterns).
LoadedStateDict load_state_dict(Model& model, StateDict& state, const std::string& path, const std::string& model_name,
                                const std::vector<std::string>& ignore);

}  // namespace pleat
