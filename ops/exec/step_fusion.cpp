#include "ops/exec/step_fusion.hpp"

#include <utility>

namespace pleat {

// Batch norms fused with what follows; in training their statistics first.
std::vector<PlannedStep> fuse_steps(const Graph& graph, bool training) {
  const auto readers = consumers(graph);
  std::vector<PlannedStep> at(graph.nodes.size());
  std::vector<bool> inside(graph.nodes.size(), false);
  for (int i = 0; i <= graph.output(); ++i) at[i] = {.node = i, .inputs = graph.nodes[i].inputs};
  for (int i = 0; i <= graph.output(); ++i) {
    if (!std::holds_alternative<BatchNorm>(graph.nodes[i].op)) continue;
    PlannedStep step{.node = i, .batch_norm = i, .inputs = graph.nodes[i].inputs};
    const auto follow = [&](auto wanted) {  // the only reader, if it is of the wanted kind and not yet taken
      if (readers[step.node].size() != 1) return -1;
      const int next = readers[step.node][0];
      const bool taken = inside[next] || at[next].batch_norm >= 0;
      return std::holds_alternative<decltype(wanted)>(graph.nodes[next].op) && !taken ? next : -1;
    };
    if (const int add = follow(Add{}); add >= 0) {
      const auto& terms = graph.nodes[add].inputs;
      step.inputs.push_back(terms[0] == step.node ? terms[1] : terms[0]);
      inside[step.node] = true;
      step.node = add;
    }
    if (const int act = follow(AlphaAct{}); act >= 0) {
      inside[step.node] = true;
      step.node = step.act = act;
    }
    at[step.node] = step;
  }
  std::vector<PlannedStep> steps;
  int group = 0, index_in_group = 0;
  const auto append = [&](PlannedStep step) {
    step.group = group;
    step.index = static_cast<int>(steps.size());
    step.index_in_group = index_in_group++;
    steps.push_back(std::move(step));
  };
  for (int i = 0; i <= graph.output(); ++i) {
    if (training && std::holds_alternative<BatchNorm>(graph.nodes[i].op)) {
      append({.node = i, .batch_norm = i, .statistics = true, .inputs = graph.nodes[i].inputs});
      ++group;  // the statistics are those of the whole batch
      index_in_group = 0;
    }
    if (!inside[i]) append(at[i]);
  }
  return steps;
}

}  // namespace pleat
