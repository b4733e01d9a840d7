// Moving a group's padding to its first ops.
//
// Ordinary padding puts zeros around every op's output, where a merged op has the true response to its padded input. So
// before fine-tuning, the values inside a group are made larger instead: each is computed wherever it is read, from an
// input padded once, and nothing inside is padded. Then merging is exact everywhere, borders included.
#pragma once

#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// The model with the padding of each group (from find_groups of its graph) at the ops that read the group's input: in
/// their own attributes where they can have it, else in a Shortcut before them. Where a value is read at two sizes (a
/// skip), Shortcuts crop it. Groups that are exact already stay as they are, so that doing it again changes nothing.
Model reorder_padding(const Model& model, const std::vector<Region>& groups);

}  // namespace pleat
