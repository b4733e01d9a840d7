// Plans a fold by measured latency: which activations to drop, and which of the groups that arise to merge, for the
// most speed at the least loss.
//
// Every candidate, a run of activations that one op could replace (DropRun), is dropped alone, and the network is timed
// both with that run's ops as they are and with them merged. Candidates far from each other hardly influence each
// other's time, so the differences in time are taken to add up, and so are the losses. Dynamic programming along the
// chain of activations (fold/dynamic_programming.hpp) then finds the Pareto front of sets of candidates. Some of these
// sets are built and measured as a whole, which shows how far the sums are off.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/fold.hpp"
#include "fold/groups.hpp"
#include "fold/merge_candidates.hpp"

namespace pleat {

/// A function that returns, for each mask, what dropping its activations loses, in any unit. The mask that drops
/// nothing must lose 0.
using Losses = std::function<std::vector<double>(const std::vector<std::string>& masks)>;

/// A set of activations to drop and groups to merge, with its predicted and measured loss and time.
struct PlanPoint {
  std::string mask;
  std::vector<OpNames> groups;
  int depth = 0;                                                    ///< Of the folded network, as depth() counts it.
  double loss = 0, seconds = 0;                                     ///< Predicted as sums over candidates.
  std::optional<double> measured_loss = {}, measured_seconds = {};  ///< Measured for the set as a whole.
  bool best_of_depth = false;                  ///< Whether it would be chosen if its depth were asked for.
  std::vector<int> dropped = {}, merged = {};  ///< The candidates over which the prediction sums.
};

/// A DropRun, and what the network loses and how fast it is when only this run is dropped.
struct Candidate {
  DropRun run;
  double loss = 0;
  double seconds = 0;         ///< Time of the network with the run dropped and nothing merged.
  double merged_seconds = 0;  ///< Time of the network with the run's ops merged as well, if it has any.
};

/// What was measured, and what was chosen.
struct LatencyPlan {
  std::string graph;                     ///< The fingerprint() of the network's graph.
  std::vector<std::string> alphas = {};  ///< The names of its foldable activations.
  Borders borders = Borders::move_padding;
  int max_kernel = 7;
  double seconds = 0;  ///< Time of the network with nothing dropped.
  std::vector<Candidate> candidates = {};
  /// From slow to fast, as first measured: a selection from the Pareto front and one point for each depth.
  std::vector<PlanPoint> points = {};
  int chosen = 0;  ///< An index into `points`.
};

/// What the chosen point must fulfil. Without max_loss and min_speedup the knee of the front is chosen, or the point of
/// least loss if no point of the front is at least a tenth faster than that one.
struct PlanGoal {
  std::optional<double> max_loss = {};     ///< Choose the fastest point that loses at most this.
  std::optional<double> min_speedup = {};  ///< Choose the point of least loss that is at least this many times as fast.
  std::optional<int> depth = {};           ///< Choose only among points of this depth.
};

/// Sixteen hexadecimal digits, a hash of the graph's names, ops and sizes but not of the weights.
std::string fingerprint(const Graph& graph);

/// Measures the candidates, chooses the points, and measures the points and their candidates once more. The predictions
/// are sums of the second measurements, because among the first ones a candidate may have been chosen only since its
/// time happened to be measured too short. Throws std::invalid_argument if the model has no foldable activation, or if
/// no point fulfils `goal`.
LatencyPlan plan_by_latency(const Model& model, Borders borders, int max_kernel, const PlanGoal& goal,
                            const Stopwatch& stopwatch, const Losses& losses);

/// The largest |predicted - measured| / measured of the points' seconds.
double prediction_error(const LatencyPlan& plan);

/// Folds a model as a point of the plan says. `model` is the network that was planned, possibly trained further, or the
/// result of an earlier call with Merge::none. Only `merge` (all of the point's groups, or none) and `borders` of
/// `options` are used. The plan is recorded in the model's notes under "fold.plan". Throws std::invalid_argument if the
/// model is another network.
Folded fold_point(const LatencyPlan& plan, const PlanPoint& point, const Model& model, FoldOptions options);

}  // namespace pleat
