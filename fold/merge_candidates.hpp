// Groups that may be worth merging, for measuring them: `fold --merge latency` and `pleat plan`.
#pragma once

#include <functional>
#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// Median seconds of a call of each of `count` networks, of which `network(i)` makes the i-th; all are measured in one
/// go, so that what disturbs the machine hits them alike.
using Stopwatch = std::function<std::vector<double>(int count, const std::function<Model(int)>& network)>;

/// Closed linear regions with two or more convolutions or linear layers that `refusal` takes, one for each set of
/// those: overlapping ones, too. Without those whose merging would more than double the multiply-accumulates: no CPU
/// makes up for that.
std::vector<Region> merge_candidates(const Graph& graph, const Refusal& refusal);

/// A run of foldable activations that is dropped together.
struct DropRun {
  int first = 0, last = 0;  ///< Of foldable_activations.
  OpNames ops;              ///< What merging joins across all of them, and no others; empty: nothing can be merged.
  int kernel = 0;           ///< Of the merged op.
};

/// Every single activation, and every longer run across which one op of kernel at most `max_kernel` can stand; of
/// several such ops the one that saves most multiply-accumulates.
std::vector<DropRun> drop_runs(const Model& model, int max_kernel);

/// A group that was measured merged.
struct TimedGroup {
  OpNames ops;
  int kernel = 0;
  double seconds = 0;  ///< What merging it alone adds to the network's; below 0: faster.
  bool merged = false;
};

/// Measures each of `candidates` (merge_candidates of the model's graph) merged alone, and chooses disjoint ones by
/// least sum: with `base` the seconds of the model with none merged.
struct MergeChoice {
  double base = 0;
  std::vector<TimedGroup> groups;
};
MergeChoice choose_merges(const Model& model, const std::vector<Region>& candidates, const Refusal& within,
                          Borders borders, const Stopwatch& stopwatch);

}  // namespace pleat
