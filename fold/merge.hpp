// Merging: each group of linear nodes becomes one op.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// Name of the op a group becomes: that of its first convolution or linear layer.
const std::string& merged_name(const Graph& graph, const Region& group);

/// The model with each group (from find_groups of its graph) replaced by one convolution with bias: depthwise where the
/// map is diagonal, a linear layer where a linear layer is in the group. Weights are computed in double and rounded
/// once. With Borders::reorder the result equals the model with its padding moved (fold/move_padding.hpp), with
/// Borders::exact, where a group that is not Region::exact() becomes a convolution plus a BorderConv2d, the model
/// itself.
Model merge(const Model& model, const std::vector<Region>& groups, Borders borders);

/// The batch_norms (fold/groups.hpp) merged. Exact. A batch norm that no convolution precedes stays.
Model fold_batch_norm(const Model& model);

}  // namespace pleat
