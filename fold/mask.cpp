#include "fold/mask.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "core/check.hpp"
#include "fold/rewrite.hpp"
#include "ops/spec.hpp"

namespace pleat {

std::string alpha_of(const Node& node) {
  return std::holds_alternative<AlphaAct>(node.op) ? std::get<AlphaAct>(node.op).alpha : "";
}

std::vector<Foldable> foldable_activations(const Model& model) {
  std::vector<Foldable> all;
  for (const Parameter& parameter : parameters(model.graph))
    if (parameter.role == Role::alpha) all.push_back({parameter.name, model.tensors.at(parameter.name).values.at(0)});
  return all;
}

std::string mask_from_threshold(const Model& model, double threshold) {
  std::string mask;
  for (const Foldable& activation : foldable_activations(model)) mask += activation.value >= threshold ? '.' : '#';
  return mask;
}

std::string mask_from_text(const Model& model, const std::string& text) {
  const std::size_t expected = foldable_activations(model).size();
  const std::size_t wrong = text.find_first_not_of("#.");
  PLEAT_CHECK(wrong == std::string::npos, "mask '", text, "': got '", text[wrong],
              "', expected '#' (keep) or '.' (drop)");
  if (text.size() == expected + 1 && text[0] == '#') return text.substr(1);
  PLEAT_CHECK(text.size() == expected, "mask '", text, "': has ", text.size(), " characters, expected ", expected,
              ", one for each foldable activation");
  return text;
}

std::string mask_from_depth(const Model& model, int wanted) {
  const std::vector<Foldable> all = foldable_activations(model);
  const int full = depth(model.graph), drops = full - wanted;
  PLEAT_CHECK(drops >= 0 && drops <= static_cast<int>(all.size()), "fold: depth ", wanted, " was asked for, expected ",
              full - static_cast<int>(all.size()), " to ", full);
  std::vector<int> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return all[a].value > all[b].value; });
  std::string mask(all.size(), '#');
  for (int i = 0; i < drops; ++i) mask[order[i]] = '.';
  return mask;
}

int remaining_value(const Graph& original, int i, const Graph& dropped) {
  int node = -1;
  while ((node = find(dropped, original.nodes[i].name)) < 0)
    i = original.nodes[i].inputs[0];  // node i was dropped, too
  return node;
}

Model drop_activations(const Model& model, const std::string& mask) {
  const std::vector<Foldable> all = foldable_activations(model);
  PLEAT_CHECK(mask.size() == all.size(), "fold: mask '", mask, "' has ", mask.size(), " characters, expected ",
              all.size());
  std::set<std::string> dropped;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (mask[i] == '.') dropped.insert(all[i].alpha);
  Rewrite rewrite(model);
  for (int i = 0; i <= model.graph.output(); ++i) {
    const Node& node = model.graph.nodes[i];
    if (dropped.contains(alpha_of(node)))
      rewrite.stand_for(i, rewrite[node.inputs[0]]);
    else
      rewrite.copy(i);
  }
  return rewrite.finish();
}

Model restore_activations(const Model& folded, const Model& original) {
  std::set<std::string> kept;
  for (const Foldable& activation : foldable_activations(folded)) kept.insert(activation.alpha);
  const std::vector<std::vector<int>> readers = consumers(original.graph);
  std::map<int, const Node*> behind;  // by the node of `folded` that the activation reads
  for (const Node& node : original.graph.nodes) {
    if (alpha_of(node).empty() || kept.contains(alpha_of(node))) continue;
    PLEAT_CHECK(readers[node.inputs[0]].size() == 1, "fold: '", node.name,
                "' cannot be restored: ", readers[node.inputs[0]].size(), " nodes read its input, expected it alone");
    const bool first = behind.emplace(remaining_value(original.graph, node.inputs[0], folded.graph), &node).second;
    PLEAT_CHECK(first, "fold: '", node.name, "' cannot be restored: another activation had the same place");
  }
  Rewrite rewrite(folded);
  for (int i = 0; i <= folded.graph.output(); ++i) {
    rewrite.copy(i);
    const auto activation = behind.find(i);
    if (activation == behind.end()) continue;
    const Node& node = *activation->second;
    rewrite.stand_for(i, rewrite.add(node.name, node.op, {rewrite[i]}));
    rewrite.set(alpha_of(node), original.tensors.at(alpha_of(node)));
  }
  return rewrite.finish();
}

}  // namespace pleat
