// Which groups may be worth merging, so that their latency is measured: for `pleat fold --merge latency`, which chooses
// groups to merge, and for `pleat plan`, which also chooses the activations to drop.
#pragma once

#include <functional>
#include <vector>

#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// A function that measures `count` networks, of which `network(i)` builds the i-th, and returns the median seconds of
/// a call of each. It measures all of them in one go, so that disturbances of the machine affect them equally.
using Stopwatch = std::function<std::vector<double>(int count, const std::function<Model(int)>& network)>;

/// All regions with at least two convolutions or linear layers that `refusal` accepts, one for each set of such layers.
/// Regions may overlap. Left out are those whose merging would more than double the MACs, because no CPU is faster
/// then.
std::vector<Region> merge_candidates(const Graph& graph, const Refusal& refusal);

/// A run of consecutive foldable activations that are dropped together.
struct DropRun {
  int first = 0, last = 0;  ///< Indices into foldable_activations(), both included.
  OpNames ops;              ///< The ops that can then be merged across exactly these activations; may be empty.
  int kernel = 0;           ///< Kernel size of the merged op.
};

/// Every single activation as a run, and every longer run across which ops can be merged into one with a kernel size of
/// at most `max_kernel`. If there are several ways to merge, the run has the one that saves most MACs.
std::vector<DropRun> drop_runs(const Model& model, int max_kernel);

/// A group whose merging was measured.
struct TimedGroup {
  OpNames ops;
  int kernel = 0;       ///< Kernel size of the merged op.
  double seconds = 0;   ///< What merging this group alone adds to the network's time; negative if that is faster.
  bool merged = false;  ///< Whether it was chosen.
};

/// What choose_merges measured and chose.
struct MergeChoice {
  double base = 0;  ///< Seconds of the network with no group merged.
  std::vector<TimedGroup> groups;
};

/// Measures the model with each of `candidates` (merge_candidates of its graph) merged alone, and chooses disjoint ones
/// for which the sum of the measured differences is least.
MergeChoice choose_merges(const Model& model, const std::vector<Region>& candidates, const Refusal& within,
                          Borders borders, const Stopwatch& stopwatch);

}  // namespace pleat
