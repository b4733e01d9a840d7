// Before an experiment: which depths it visits, and how many epochs each of its trainings gets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pleat {

/// Epochs of each training of a curve. `base` is 0 if a trained model was given.
struct CurveEpochs {
  int64_t base = 0, prefold = 0, depth = 0;
  int64_t total(int64_t depths) const { return base + prefold + depths * depth; }
};

/// The smallest depth that the paper shows for the network called `network` on `data` (arXiv:2106.09309, its first
/// figure); for others half of `full`, the network's depth.
int smallest_depth(const std::string& network, const std::string& data, int full);

/// `count` depths, or as many as there are, evenly spaced from `full` (not among them) down to `smallest` (the last).
std::vector<int> spaced_depths(int full, int smallest, int count);

/// What the experiment's parts cost.
struct CurveCosts {
  double epoch = 0;        ///< Seconds of an epoch of the base and of pre-folding.
  double depth_epoch = 0;  ///< Seconds of an epoch under the teacher.
  double depth_rest = 0;   ///< Seconds that each depth takes besides its epochs, for its proof and its timing.
  double seconds(const CurveEpochs& epochs, int64_t depths) const;
};

/// `recipe`'s epochs scaled so that the experiment takes about `budget` seconds, but at least one epoch each where the
/// recipe has any. If that is too much, `depths` are thinned out, unless they are `fixed`. Throws std::invalid_argument
/// saying how much is needed if the budget is too small for one depth, or for the fixed ones.
CurveEpochs fit_budget(const CurveEpochs& recipe, const CurveCosts& costs, double budget, bool fixed,
                       std::vector<int>& depths);

}  // namespace pleat
