#include "fold/fold.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/check.hpp"
#include "fold/groups.hpp"
#include "fold/mask.hpp"
#include "fold/merge.hpp"
#include "fold/move_padding.hpp"

namespace pleat {
namespace {

using Merge = FoldOptions::Merge;

std::string choose_mask(const Model& model, const FoldOptions& options) {
  const int given = options.threshold.has_value() + options.mask.has_value() + options.depth.has_value();
  PLEAT_CHECK(given <= 1, "fold: ", given,
              " of the options threshold, mask and depth were given, expected at most one");
  if (options.threshold) return mask_from_threshold(model, *options.threshold);
  if (options.mask) return mask_from_text(model, *options.mask);
  if (options.depth) return mask_from_depth(model, *options.depth);
  return std::string(foldable_activations(model).size(), '#');
}

// Fills in what became of a dropped activation that read the value of node `i` of the original network.
void locate(ActivationRow& row, const Graph& original, int i, const Graph& dropped, const std::vector<Region>& groups,
            const Refusal& refusal) {
  const int node = remaining_value(original, i, dropped);
  row.stop = stop_at(dropped, node, refusal);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::vector<int>& nodes = groups[g].nodes;
    if (std::find(nodes.begin(), nodes.end(), node) == nodes.end()) continue;
    if (node != groups[g].to) row.group = static_cast<int>(g);
    row.stop = groups[g].stop;
  }
}

GroupRow::Border border_of(const Region& group, bool exact) {
  if (group.exact()) return GroupRow::Border::same;
  if (!exact) return GroupRow::Border::moved;
  return group.macs_border == 0 ? GroupRow::Border::bias : GroupRow::Border::kernels;
}

// Reports the fold. `exact` says that borders are kept exact instead of having their padding moved.
FoldReport describe(const Model& model, const std::string& mask, const Graph& dropped,
                    const std::vector<Region>& groups, const Refusal& refusal, bool exact) {
  FoldReport report{.mask = mask, .activations = {}, .groups = {}};
  for (const Region& group : groups)
    report.groups.push_back({merged_name(dropped, group), dropped.nodes[group.from].name, dropped.nodes[group.to].name,
                             kernels(dropped, group), group.map.kernel(), group.macs_before,
                             group.macs_after + (exact ? group.macs_border : 0), border_of(group, exact), group.stop});
  for (const Foldable& activation : foldable_activations(model)) {
    ActivationRow row{activation.alpha, activation.value, mask[report.activations.size()] == '#', -1, {}};
    for (const Node& node : model.graph.nodes)
      if (!row.kept && row.group < 0 && alpha_of(node) == row.alpha)
        locate(row, model.graph, node.inputs[0], dropped, groups, refusal);
    report.activations.push_back(row);
  }
  return report;
}

// The mask for the network as it was first trained. If the model was folded before, `mask` has a character for each '#'
// of the earlier mask and replaces those.
std::string whole_mask(const Model& model, const std::string& mask) {
  const auto before = model.notes.find("fold.mask");
  if (before == model.notes.end()) return mask;
  std::string whole = before->second;
  if (std::count(whole.begin(), whole.end(), '#') != static_cast<std::ptrdiff_t>(mask.size())) return mask;
  auto next = mask.begin();
  for (char& kept : whole)
    if (kept == '#') kept = *next++;
  return whole;
}

bool has_note(const Model& model, const char* key, const char* value) {
  const auto note = model.notes.find(key);
  return note != model.notes.end() && note->second == value;
}

// Whether the model was prepared for merging by moving its padding, and perhaps fine-tuned since. Such a model must be
// merged as it is.
bool is_prepared(const Model& model) {
  return has_note(model, "fold.merge", "none") && !has_note(model, "fold.borders", "exact");
}

// Throws unless each of `lists`, the groups that the caller asked for, was found.
void check_found(const Graph& graph, const std::vector<Region>& groups, const std::vector<OpNames>& lists,
                 int max_kernel) {
  for (const OpNames& list : lists) {
    if (std::any_of(groups.begin(), groups.end(), [&](const Region& g) { return weighted_ops(graph, g) == list; }))
      continue;
    std::string names;
    for (const std::string& op : list) names += concat(names.empty() ? "" : ", ", op);
    throw std::invalid_argument(concat(
        "fold: ", names, ": cannot be merged into one op here; expected a linear group with a kernel size of at most ",
        max_kernel, ", and with its padding moved if the model was prepared for merging"));
  }
}

const char* name(Merge merge) {
  switch (merge) {
    case Merge::all:
      return "all";
    case Merge::cheaper:
      return "cheaper";
    case Merge::latency:
      return "latency";
    case Merge::none:
      return "none";
  }
  return "";
}

}  // namespace

const char* name(GroupRow::Border border) {
  switch (border) {
    case GroupRow::Border::same:
      return "same";
    case GroupRow::Border::moved:
      return "moved";
    case GroupRow::Border::bias:
      return "bias";
    case GroupRow::Border::kernels:
      return "kernels";
    case GroupRow::Border::fitted:
      return "fitted";
  }
  return "";
}

namespace {

// A dropped activation that follows a fitted group, or a sum to which the group contributes, belongs to that group.
void assign_followers(FoldReport& report, const Graph& original, const Graph& dropped,
                      const std::vector<Region>& groups) {
  for (ActivationRow& row : report.activations)
    for (const Node& node : original.nodes) {
      if (row.kept || row.group >= 0 || alpha_of(node) != row.alpha) continue;
      const int value = remaining_value(original, node.inputs[0], dropped);
      const std::vector<int>& terms = dropped.nodes[value].inputs;
      const bool is_sum = std::holds_alternative<Add>(dropped.nodes[value].op);
      for (std::size_t g = 0; g < groups.size(); ++g)
        if (groups[g].to == value || (is_sum && std::ranges::find(terms, groups[g].to) != terms.end()))
          row.group = static_cast<int>(g);
    }
}

// Replaces the groups that dropped activations lie within by fitted convolutions, and merges the rest of the network.
Folded fold_by_fit(const Model& model, const FoldOptions& options, const std::string& mask) {
  PLEAT_CHECK(
      !options.groups && options.merge != Merge::latency,
      "fold: fitting replaces every group that a dropped activation lies within, expected neither a list of groups nor "
      "merging by latency");
  const Model dropped = drop_activations(model, mask);
  const Refusal none = [](const Region&) { return std::string(); };
  const std::vector<Region> groups =
      groups_to_fit(model, dropped, find_groups(dropped.graph, none), options.max_kernel);
  std::vector<FittedGroup> fits;
  const FittedNorms norms = options.merge == Merge::none ? FittedNorms::added : FittedNorms::none;
  const Model fitted = fit_groups(model, dropped, groups, options.fit, norms, fits);

  const FoldOptions rest{.mask = std::string(foldable_activations(fitted).size(), '#'),
                         .merge = options.merge == Merge::none ? Merge::none : Merge::cheaper,
                         .max_kernel = options.max_kernel,
                         .borders = Borders::exact};
  Folded folded = fold(fitted, rest);
  FoldReport report = describe(model, mask, dropped.graph, groups, none, true);
  assign_followers(report, model.graph, dropped.graph, groups);
  for (GroupRow& row : report.groups) row.border = GroupRow::Border::fitted;
  std::ranges::move(folded.report.groups, std::back_inserter(report.groups));
  report.fits = std::move(fits);
  folded.report = std::move(report);
  folded.model.notes["fold.mask"] = whole_mask(model, mask);
  if (!groups.empty()) {
    const auto before = model.notes.find("fold.fit");
    const std::size_t earlier = before == model.notes.end() ? 0 : std::strtoul(before->second.c_str(), nullptr, 10);
    folded.model.notes["fold.fit"] = std::to_string(earlier + groups.size());
  }
  return folded;
}

}  // namespace

Folded fold(const Model& model, const FoldOptions& options) {
  const std::string mask = choose_mask(model, options);
  if (options.fit) return fold_by_fit(model, options, mask);
  const bool drops = mask.find('.') != std::string::npos;
  const Model dropped = drop_activations(model, mask);
  const Graph& graph = dropped.graph;
  const bool merges = options.merge != Merge::none, prepared = merges && is_prepared(model) && !drops;
  const Borders borders = options.borders.value_or(merges ? Borders::exact : Borders::move_padding);
  Refusal refusal = options.merge == Merge::cheaper ? cheaper(graph, options.max_kernel, borders)
                                                    : within_kernel(graph, options.max_kernel);
  if (prepared) refusal = exact(std::move(refusal));
  std::optional<std::vector<OpNames>> lists = options.groups;
  MergeChoice timed;
  if (options.merge == Merge::latency) {
    PLEAT_CHECK(options.stopwatch && !lists, "fold: merging by latency needs a stopwatch and takes no list of groups");
    timed = choose_merges(dropped, merge_candidates(graph, refusal), refusal, borders, options.stopwatch);
    lists.emplace();
    for (const TimedGroup& group : timed.groups)
      if (group.merged) lists->push_back(group.ops);
  }
  if (lists) refusal = only(graph, *lists, std::move(refusal));
  const std::vector<Region> groups = find_groups(graph, refusal);
  if (lists) check_found(graph, groups, *lists, options.max_kernel);
  const bool exact_borders = borders == Borders::exact;
  Folded folded{merges          ? merge(dropped, groups, borders)
                : exact_borders ? dropped
                                : move_padding(dropped, groups),
                describe(model, mask, graph, groups, refusal, exact_borders)};
  folded.report.timed = std::move(timed);
  folded.model.notes["fold.mask"] = whole_mask(model, mask);
  folded.model.notes["fold.merge"] = name(options.merge);
  if (!has_note(model, "fold.borders", "reorder"))  // padding that was moved earlier stays moved
    folded.model.notes["fold.borders"] = exact_borders ? "exact" : "reorder";
  folded.model.notes["fold.max_kernel"] = std::to_string(options.max_kernel);
  return folded;
}

}  // namespace pleat
