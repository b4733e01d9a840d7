// Moves all padding of a group to the ops that read its input.
//
// In an ordinary network every convolution pads its own input with zeros. A merged convolution pads only the group's
// input, so near the borders it computes something else: it sees the inner values that the padded input produces there,
// and not zeros. To make merging exact everywhere, the network is changed before it is fine-tuned: the group's input is
// padded once, by as much as all ops of the group need together, and nothing inside is padded. Inner values become
// larger than before, because they are computed wherever a later op reads them.
#pragma once

#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// The model with the padding of each of `groups` (from find_groups of its graph) moved to the ops that read the
/// group's input: into their own attributes if they have such, otherwise into a Shortcut in front of them. Where a skip
/// reads a value at a smaller size than the main path, a Shortcut crops it. Groups that merge exactly already are not
/// changed, so moving the padding a second time changes nothing.
Model move_padding(const Model& model, const std::vector<Region>& groups);

}  // namespace pleat
