// Replaces the groups of a network whose activations are dropped by fitted convolutions (fold/fit.hpp). They are fitted
// one after the other, from the input on: each on the values that the network folded so far gives it, towards those
// that the original network gave at the group's end. So a later convolution corrects, where it can, what the earlier
// ones got wrong.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// Called with the outputs of several networks for the same pictures, each NHWC.
using TakeOutputs = std::function<void(std::span<const std::span<const float>> outputs, int64_t pictures)>;

/// A function that runs all the networks on all pictures, batch after batch. `label` is shown beside the progress.
using RunNetworks =
    std::function<void(const std::string& label, const std::vector<Model>& networks, const TakeOutputs& take)>;

/// What became of one group.
struct FittedGroup {
  std::string op;          ///< The convolution's name.
  double unexplained = 0;  ///< The fraction of its output's variance that the convolution does not give, 0 to 1.
};

/// Finds what must be fitted, because composing would leave an activation out. `dropped` is `original` without some of
/// its activations, and `groups` are those of its graph. Chosen are the groups that a dropped activation lies within,
/// or that one follows, perhaps after a sum to which the group contributes. Of a group with dropped activations inside,
/// the part is taken whose convolution costs least. The maps are cut to `kernel`, and `macs_after` is that of the
/// fitted convolution. Throws std::invalid_argument naming a dropped activation for which no convolution can stand.
std::vector<Region> groups_to_fit(const Model& original, const Model& dropped, const std::vector<Region>& groups,
                                  int kernel);

/// Whether a fitted convolution is followed by a batch norm. The norm changes nothing in evaluation: its statistics are
/// those of the convolution's output on the pictures, and its weight and bias undo them. Training needs it, as it
/// needed the norms that were inside the group.
enum class FittedNorms { none, added };

/// `dropped` with these groups (from groups_to_fit) replaced. Adds to `report` what each fit left unexplained. Throws
/// like `run` and ConvolutionFit, naming the group.
Model fit_groups(const Model& original, const Model& dropped, const std::vector<Region>& groups, const RunNetworks& run,
                 FittedNorms norms, std::vector<FittedGroup>& report);

}  // namespace pleat
