// Folding planned by measured latency: which activations to drop, and which of the groups between the others to merge,
// for the most speed at the least loss.
//
// Every run of activations that one op can stand for (DropRun) is dropped alone, and the network timed with the run
// left as it is and merged. Runs far from each other hardly change each other's time, so seconds add up; losses are
// taken to add up as well. Then dynamic programming along the chain (fold/dynamic_programming.hpp) gives the best sets,
// and those are built and measured as a whole to see how far the sums are off.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/merge_candidates.hpp"
#include "fold/groups.hpp"
#include "fold/fold.hpp"

namespace pleat {

/// What dropping the activations of each mask loses, in any unit; nothing dropped loses 0.
using Losses = std::function<std::vector<double>(const std::vector<std::string>& masks)>;

/// A set of activations to drop and of groups to merge.
struct PlanPoint {
  std::string mask;
  std::vector<OpNames> groups;
  int depth = 0;                                                    ///< Of the folded network, as depth() has it.
  double loss = 0, seconds = 0;                                     ///< Predicted by sums.
  std::optional<double> measured_loss = {}, measured_seconds = {};  ///< Of the whole.
  bool best_of_depth = false;                                       ///< What would be chosen for its depth.
  std::vector<int> dropped = {}, merged = {};                       ///< Candidates that the prediction is the sum of.
};

/// A DropRun with what it does to the network when it alone is dropped.
struct Candidate {
  DropRun run;
  double loss = 0;
  double seconds = 0;         ///< The network's, with the run dropped and not merged,
  double merged_seconds = 0;  ///< and merged, where it can be.
};

struct LatencyPlan {
  std::string graph;                     ///< fingerprint() of the network's graph.
  std::vector<std::string> alphas = {};  ///< Its foldable activations.
  Borders borders = Borders::reorder;
  int max_kernel = 7;
  double seconds = 0;  ///< Of the network as it is.
  std::vector<Candidate> candidates = {};
  std::vector<PlanPoint> points =
      {};  ///< From slow to fast, as first measured: some of the front, and one for each depth.
  int chosen = 0;
};

/// What the chosen point must be; without max_loss and min_speedup it is the front's knee, or its least loss where
/// nothing on it is a tenth faster than that.
struct PlanWish {
  std::optional<double> max_loss = {};     ///< The fastest that loses no more.
  std::optional<double> min_speedup = {};  ///< The one that loses least of those at least so many times as fast.
  std::optional<int> depth = {};           ///< Only points of this depth.
};

/// Sixteen hexadecimal digits that tell this graph (names, ops, sizes; not weights) from others.
std::string fingerprint(const Graph& graph);

/// Measures the candidates, plans, and measures the points and their candidates once more: the predictions are sums of
/// those second figures, free of the luck that helps to be chosen. Throws std::invalid_argument if the model has no
/// foldable activation or nothing fulfils the wish.
LatencyPlan plan_by_latency(const Model& model, Borders borders, int max_kernel, const PlanWish& wish,
                            const Stopwatch& stopwatch, const Losses& losses);

/// The largest |predicted - measured| / measured seconds of the points.
double prediction_error(const LatencyPlan& plan);

/// Folds by a point: `model` is the planned network (trained further or not), or what this made of it with Merge::none.
/// Of `options` `merge` (all: the point's groups, or none) and `borders` count. Notes the plan under "fold.plan".
/// Throws std::invalid_argument saying what does not fit.
Folded fold_point(const LatencyPlan& plan, const PlanPoint& point, const Model& model, FoldOptions options);

}  // namespace pleat
