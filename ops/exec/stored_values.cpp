#include "ops/exec/stored_values.hpp"

#include "core/check.hpp"
#include "core/op_traits.hpp"

namespace pleat {
// A value is computed again if the backward pass needs it, all its readers are in its own group (a piece of it is then
// always at hand) and that is cheap.
std::vector<bool> choose_recomputed(const Graph& graph, const ExecPlan& plan, const ExecPlanOptions& options) {
  std::vector<bool> recompute(graph.nodes.size(), false), needed(graph.nodes.size(), false);
  if (!options.training) return recompute;
  std::vector<int> group(graph.nodes.size(), -1);
  std::vector<bool> confined(graph.nodes.size(), true);
  confined[graph.output()] = false;
  if (!plan.bf16[0]) confined[0] = false;  // the caller's pictures
  if (options.keep)
    for (int node : *options.keep) confined[node] = false;
  for (const PlannedStep& step : plan.steps) {
    if (!step.statistics) group[step.node] = step.group;
    for (int input : step.inputs)
      if (group[input] != step.group) confined[input] = false;
  }
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    const Op& op = graph.nodes[step->batch_norm >= 0 ? step->batch_norm : step->node].op;
    if (!step->statistics) recompute[step->node] = needed[step->node] && confined[step->node] && traits(op).cheap;
    const bool reads = traits(op).backward_reads_inputs || (!step->statistics && recompute[step->node]);
    for (int input : step->inputs) needed[input] = needed[input] || reads;
  }
  return recompute;
}

std::vector<bool> choose_bf16(const Graph& graph, bool bf16) {
  std::vector<bool> result(graph.nodes.size(), false);
  if (!bf16) return result;
  for (int i = 0; i <= graph.output(); ++i) {
    const Node& node = graph.nodes[i];
    result[i] = !traits(node.op).one_pixel && (node.inputs.empty() || result[node.inputs[0]]);
    for (int input : node.inputs)
      PLEAT_CHECK(result[input] == result[node.inputs[0]], "exec: bf16: '", node.name,
                  "' reads a value in bf16 and one in f32");
  }
  PLEAT_CHECK(!result[graph.output()],
              "exec: bf16: the network must end behind a pooling to 1x1, a flatten or a linear");
  return result;
}

}  // namespace pleat
