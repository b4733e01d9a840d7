// Which ops of a network became one when it was folded.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// A network before folding, and what folding made of it.
struct FoldedNetwork {
  Graph before;
  std::set<std::string> dropped;  ///< Alphas of the activations that are gone.
  struct Group {
    std::set<std::string> nodes;  ///< Names of the nodes that became one op.
    std::string from, to;         ///< The nodes that give its input and its output.
    OpNames ops;                  ///< Its convolutions and linear layers, in network order.
    std::vector<int> kernels;     ///< Their kernel sizes.
    int kernel = 0;               ///< That of the op that they became.
    int64_t macs_before = 0, macs_after = 0;
  };
  std::vector<Group> groups;  ///< In network order, only those of more than an op with its batch norm.
};

/// What dropping by `mask` and merging all groups makes of the model, with kernels of at most `max_kernel`, as `pleat
/// curve` does it. Throws std::invalid_argument if the mask is not one for the model.
FoldedNetwork folded_by_mask(const Model& before, const std::string& mask, int max_kernel);

/// What `after`, which came from `before` by dropping and perhaps merging, has lost: by the names that are gone.
FoldedNetwork folded_into(const Model& before, const Graph& after);

/// Whether `after` may have come from `before` by folding: nothing with weights or an alpha is new, and something is
/// gone.
bool may_come_from(const Graph& before, const Graph& after);

}  // namespace pleat
