#include "ops/exec/plan.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "core/check.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// Bytes of values that one piece touches, forward or backward: they should stay in the cache. But every piece reads the
// group's weights again, so that there should be several times as much of the one as of the other.
constexpr int64_t kPieceBytes = 12 << 20, kPerWeightByte = 4;

// Batch norms fused with what follows; in training their statistics first.
std::vector<PlannedStep> fuse(const Graph& graph, bool training) {
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
  int group = 0;
  for (int i = 0; i <= graph.output(); ++i) {
    if (training && std::holds_alternative<BatchNorm>(graph.nodes[i].op)) {
      steps.push_back(
          {.node = i, .batch_norm = i, .statistics = true, .inputs = graph.nodes[i].inputs, .group = group});
      ++group;  // the statistics are those of the whole batch
    }
    if (inside[i]) continue;
    at[i].group = group;
    steps.push_back(at[i]);
  }
  return steps;
}

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

// From the pictures on Bf16; from where a picture is one vector (pooled or flattened, and behind) float.
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

int64_t largest_divisor(int64_t n, int64_t at_most) {
  for (int64_t d = std::min(n, at_most); d > 1; --d)
    if (n % d == 0) return d;
  return 1;
}

// Every weight of a convolution or linear layer is multiplied once for each pixel.
int64_t weight_bytes(const Graph& graph, const std::vector<Nhwc>& shapes, int node) {
  return 4 * macs(graph, node, shapes) / (shapes[node].h * shapes[node].w);
}

std::vector<int64_t> choose_pieces(const Graph& graph, const ExecPlan& plan, const std::vector<Nhwc>& shapes,
                                   const ExecPlanOptions& options) {
  std::vector<int64_t> bytes(plan.steps.back().group + 1, 0), wanted(bytes.size(), kPieceBytes);
  std::set<std::pair<int, int>> counted;  // (group, node)
  for (const PlannedStep& step : plan.steps) {
    const auto count = [&](int node) {
      if (counted.emplace(step.group, node).second) bytes[step.group] += shapes[node].size() * plan.value_bytes(node);
    };
    for (int input : step.inputs) count(input);
    if (!step.statistics) count(step.node);
    wanted[step.group] += kPerWeightByte * weight_bytes(graph, shapes, step.node);
  }
  std::vector<int64_t> pieces;
  for (std::size_t group = 0; group < bytes.size(); ++group) {
    const int64_t touched = std::max<int64_t>((options.training ? 2 : 1) * bytes[group], 1);  // with gradients
    pieces.push_back(options.piece ? options.piece : largest_divisor(options.batch, wanted[group] / touched));
  }
  return pieces;
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

ExecPlan plan_exec(const Graph& graph, const std::vector<Nhwc>& shapes, const ExecPlanOptions& options) {
  PLEAT_CHECK(options.piece == 0 || (options.piece > 0 && options.batch % options.piece == 0), "exec: a batch of ",
              options.batch, " does not come in pieces of ", options.piece);
  ExecPlan plan;
  plan.steps = fuse(graph, options.training);
  plan.bf16 = choose_bf16(graph, options.bf16);
  plan.recompute = choose_recomputed(graph, plan, options);
  plan.pieces = choose_pieces(graph, plan, shapes, options);
  return plan;
}

}  // namespace pleat
