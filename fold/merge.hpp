// Merging replaces each group of linear nodes by one op that computes the same.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// The name of the op that a group becomes: that of its first convolution or linear layer.
const std::string& merged_name(const Graph& graph, const Region& group);

/// The model with each of `groups` (from find_groups of its graph) replaced by one convolution with bias. It is a
/// depthwise convolution if the group's map is diagonal, and a linear layer if the group contains one. The weights are
/// computed in double and rounded once. With Borders::move_padding the result equals the model with its padding moved
/// (fold/move_padding.hpp). With Borders::exact it equals the model itself; there, a group that is not Region::exact()
/// becomes a convolution plus a BorderConv2d (fold/border_correction.hpp).
Model merge(const Model& model, const std::vector<Region>& groups, Borders borders);

/// The model with its batch norms merged into the convolutions before them, as the refusal `batch_norms` allows
/// (fold/groups.hpp). The result is exact. A batch norm without a convolution before it stays.
Model fold_batch_norm(const Model& model);

}  // namespace pleat
