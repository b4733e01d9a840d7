#include "tools/report/merged_groups.hpp"

#include <algorithm>

#include "core/op_traits.hpp"
#include "fold/mask.hpp"

namespace pleat {
namespace {

std::set<std::string> names_of(const Graph& graph) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes) names.insert(node.name);
  return names;
}

FoldedNetwork::Group describe(const Graph& graph, const Region& region) {
  FoldedNetwork::Group group{.nodes = {},
                             .from = graph.nodes[region.from].name,
                             .to = graph.nodes[region.to].name,
                             .ops = weighted_ops(graph, region),
                             .kernels = kernels(graph, region),
                             .kernel = region.map.kernel(),
                             .macs_before = region.macs_before,
                             .macs_after = region.macs_after};
  for (const int i : region.nodes) group.nodes.insert(graph.nodes[i].name);
  return group;
}

// Ops that merging leaves in their places, under their names: pooling and flattening of the last pixel.
bool stays(const Op& op) {
  return traits(op).one_pixel && !traits(op).weighted;
}

// More than an op with its batch norms, which merge in every network.
bool worth_showing(const Graph& graph, const Region& region) {
  const auto shows = [&](int i) {
    return !std::holds_alternative<BatchNorm>(graph.nodes[i].op) && !stays(graph.nodes[i].op);
  };
  return std::ranges::count_if(region.nodes, shows) > 1;
}

// `refusal_for` makes a refusal for the graph without the dropped activations.
template <class RefusalFor>
FoldedNetwork folded(const Model& before, const std::string& mask, const RefusalFor& refusal_for) {
  FoldedNetwork result{.before = before.graph, .dropped = {}, .groups = {}};
  const std::vector<Foldable> activations = foldable_activations(before);
  for (std::size_t i = 0; i < activations.size(); ++i)
    if (mask[i] == '.') result.dropped.insert(activations[i].alpha);
  const Graph dropped = drop_activations(before, mask).graph;
  for (const Region& region : find_groups(dropped, refusal_for(dropped)))
    if (worth_showing(dropped, region)) result.groups.push_back(describe(dropped, region));
  return result;
}

}  // namespace

FoldedNetwork folded_by_mask(const Model& before, const std::string& mask, int max_kernel) {
  return folded(before, mask_from_text(before, mask),
                [&](const Graph& graph) { return within_kernel(graph, max_kernel); });
}

FoldedNetwork folded_into(const Model& before, const Graph& after) {
  std::set<std::string> alphas;
  for (const Node& node : after.nodes) alphas.insert(alpha_of(node));
  std::string mask;
  for (const Foldable& activation : foldable_activations(before)) mask += alphas.contains(activation.alpha) ? '#' : '.';
  const std::set<std::string> left = names_of(after);
  // A merged op is called after the first op with weights of its group.
  return folded(before, mask, [&](const Graph& graph) -> Refusal {
    return [&](const Region& region) -> std::string {
      const std::string first = weighted_ops(graph, region).front();
      for (const int i : region.nodes) {
        const Node& node = graph.nodes[i];
        if (left.contains(node.name) && node.name != first && !stays(node.op)) return "is not merged";
      }
      return left.contains(first) ? "" : "is not merged";
    };
  });
}

bool may_come_from(const Graph& before, const Graph& after) {
  const std::set<std::string> known = names_of(before), left = names_of(after);
  std::set<std::string> alphas;
  for (const Node& node : before.nodes) alphas.insert(alpha_of(node));
  for (const Node& node : after.nodes)
    if ((traits(node.op).weighted && !known.contains(node.name)) || !alphas.contains(alpha_of(node))) return false;
  return std::ranges::any_of(before.nodes, [&](const Node& node) {
    return (traits(node.op).weighted || !alpha_of(node).empty()) && !left.contains(node.name);
  });
}

}  // namespace pleat
