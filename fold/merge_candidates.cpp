#include "fold/merge_candidates.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "fold/dynamic_programming.hpp"
#include "fold/mask.hpp"
#include "fold/merge.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

constexpr int64_t kMaxGrowth = 2;  // of the MACs

int64_t added_macs(const Region& region) {
  return region.macs_after - region.macs_before;
}

// The cells whose activations, once dropped, are all inside a region. `values` are the nodes whose values the
// activations of each cell read. Returns none if a cell is only partly inside.
std::vector<int> cells_inside(const Region& region, const std::vector<std::set<int>>& values) {
  std::vector<int> cells;
  for (std::size_t cell = 0; cell < values.size(); ++cell) {
    const auto inside = std::count_if(values[cell].begin(), values[cell].end(), [&](int value) {
      return value != region.to && std::binary_search(region.nodes.begin(), region.nodes.end(), value);
    });
    if (inside == 0) continue;
    if (inside < std::ssize(values[cell])) return {};
    cells.push_back(static_cast<int>(cell));
  }
  return cells;
}

}  // namespace

std::vector<Region> merge_candidates(const Graph& graph, const Refusal& refusal) {
  const auto readers = consumers(graph);
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  std::map<OpNames, Region> best;
  for (int from = 0; from < graph.output(); ++from)
    for (int to = from + 1; to <= graph.output(); ++to) {
      auto region = closed_region(graph, readers, shapes, from, to);
      if (!region || starts_with_norm(graph, *region) || region->macs_after > kMaxGrowth * region->macs_before ||
          !refusal(*region).empty())
        continue;
      OpNames ops = weighted_ops(graph, *region);
      if (ops.size() < 2) continue;
      const auto [entry, is_new] = best.emplace(std::move(ops), *region);
      if (!is_new && added_macs(*region) < added_macs(entry->second)) entry->second = *std::move(region);
    }
  std::vector<Region> regions;
  for (auto& [ops, region] : best) regions.push_back(std::move(region));
  std::sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) { return a.nodes < b.nodes; });
  return regions;
}

std::vector<DropRun> drop_runs(const Model& model, int max_kernel) {
  const std::vector<Foldable> cells = foldable_activations(model);
  const Model dropped = drop_activations(model, std::string(cells.size(), '.'));
  std::vector<std::set<int>> values;
  for (const Foldable& cell : cells) {
    values.emplace_back();
    for (int i = 0; i <= model.graph.output(); ++i)
      if (alpha_of(model.graph.nodes[i]) == cell.alpha)
        values.back().insert(remaining_value(model.graph, model.graph.nodes[i].inputs[0], dropped.graph));
  }

  std::map<std::pair<int, int>, std::pair<DropRun, int64_t>>
      best;  // by the run's ends, with the MACs that merging adds
  for (int cell = 0; cell < std::ssize(cells); ++cell) best[{cell, cell}] = {DropRun{cell, cell, {}, 0}, INT64_MAX};
  for (const Region& region : merge_candidates(dropped.graph, within_kernel(dropped.graph, max_kernel))) {
    const std::vector<int> inside = cells_inside(region, values);
    if (inside.empty() || inside.back() - inside.front() + 1 != std::ssize(inside)) continue;
    auto& [run, least] = best.try_emplace({inside.front(), inside.back()}, DropRun{}, INT64_MAX).first->second;
    if (added_macs(region) >= least) continue;
    run = {inside.front(), inside.back(), weighted_ops(dropped.graph, region), region.map.kernel()};
    least = added_macs(region);
  }
  std::vector<DropRun> runs;
  for (auto& [ends, run] : best) runs.push_back(std::move(run.first));
  return runs;
}

MergeChoice choose_merges(const Model& model, const std::vector<Region>& candidates, const Refusal& within,
                          Borders borders, const Stopwatch& stopwatch) {
  MergeChoice choice;
  for (const Region& region : candidates)
    choice.groups.push_back({weighted_ops(model.graph, region), region.map.kernel()});
  const std::vector<double> seconds = stopwatch(static_cast<int>(candidates.size()) + 1, [&](int i) {
    if (i == 0) return model;
    const Refusal refusal = only(model.graph, {choice.groups[i - 1].ops}, within);
    return merge(model, find_groups(model.graph, refusal), borders);
  });
  choice.base = seconds[0];
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    choice.groups[i].seconds = seconds[i + 1] - seconds[0];
    const OpNames& ops = choice.groups[i].ops;
    intervals.push_back({find(model.graph, ops.front()), find(model.graph, ops.back()), choice.groups[i].seconds});
  }
  for (const int i : cheapest_intervals(intervals)) choice.groups[i].merged = true;
  return choice;
}

}  // namespace pleat
