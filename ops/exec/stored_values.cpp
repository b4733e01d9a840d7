#include "ops/exec/stored_values.hpp"

#include "core/check.hpp"

namespace pleat {
namespace {

// Steps that are but a pass or two over memory.
bool is_cheap(const Op& op) {
  return std::visit(Overloaded{[](const Conv2d&) { return false; }, [](const DepthwiseConv2d&) { return false; },
                               [](const BorderConv2d&) { return false; }, [](const Linear&) { return false; },
                               [](const Input&) { return true; }, [](const BatchNorm&) { return true; },
                               [](const AlphaAct&) { return true; }, [](const MaxPool2d&) { return true; },
                               [](const AvgPool2d&) { return true; }, [](const GlobalAvgPool&) { return true; },
                               [](const Flatten&) { return true; }, [](const Add&) { return true; },
                               [](const Shortcut&) { return true; }},
                    op);
}

}  // namespace

bool backward_reads_inputs(const Op& op) {
  return std::visit(Overloaded{[](const Conv2d&) { return true; }, [](const DepthwiseConv2d&) { return true; },
                               [](const BorderConv2d&) { return true; }, [](const Linear&) { return true; },
                               [](const BatchNorm&) { return true; }, [](const AlphaAct&) { return true; },
                               [](const MaxPool2d&) { return true; }, [](const Input&) { return false; },
                               [](const AvgPool2d&) { return false; }, [](const GlobalAvgPool&) { return false; },
                               [](const Flatten&) { return false; }, [](const Add&) { return false; },
                               [](const Shortcut&) { return false; }},
                    op);
}

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
    if (!step->statistics) recompute[step->node] = needed[step->node] && confined[step->node] && is_cheap(op);
    const bool reads = backward_reads_inputs(op) || (!step->statistics && recompute[step->node]);
    for (int input : step->inputs) needed[input] = needed[input] || reads;
  }
  return recompute;
}

std::vector<bool> choose_bf16(const Graph& graph, bool bf16) {
  std::vector<bool> result(graph.nodes.size(), false);
  if (!bf16) return result;
  for (int i = 0; i <= graph.output(); ++i) {
    const Node& node = graph.nodes[i];
    const bool ends = std::holds_alternative<GlobalAvgPool>(node.op) || std::holds_alternative<Flatten>(node.op) ||
                      std::holds_alternative<Linear>(node.op);
    result[i] = !ends && (node.inputs.empty() || result[node.inputs[0]]);
    for (int input : node.inputs)
      PLEAT_CHECK(result[input] == result[node.inputs[0]], "exec: bf16: '", node.name,
                  "' reads a value in bf16 and one in f32");
  }
  PLEAT_CHECK(!result[graph.output()],
              "exec: bf16: the network must end behind a pooling to 1x1, a flatten or a linear");
  return result;
}

}  // namespace pleat
