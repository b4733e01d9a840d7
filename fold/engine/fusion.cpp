#include "fold/engine/fusion.hpp"

#include <algorithm>

#include "core/op_traits.hpp"
#include "ops/conv/window.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

/// The padding and kernel of a convolution, so that both kinds are padded by the same code; else nullptr and 0.
struct Window {
  Padding* pad;
  int kernel;
};
Window convolution_window(Op& op) {
  return visit_op(Overloaded{[](IsConvolution auto& convolution) {
                               return Window{&convolution.pad, convolution.kernel};
                             },
                             [](auto&) { return Window{}; }},
                  op);
}

class Fuser {
 public:
  explicit Fuser(const Graph& graph) : graph_(graph), readers_(consumers(graph)) {}

  /// The task whose result is `node`: walks back over the activation and the sum as far as they can be taken along.
  Task task_of(int node) const {
    Task task{node, -1, -1, node};
    if (is<AlphaAct>(node)) {
      const int before = graph_.nodes[node].inputs[0];
      if (sole_reader(before) != node) return task;
      if (traits(graph_.nodes[before].op).takes_epilogue) return {before, -1, node, node};
      take_sum(task, before);
      if (task.residual >= 0) task.activation = node;
    } else {
      take_sum(task, node);
    }
    return task;
  }

 private:
  template <class Kind>
  bool is(int node) const {
    return std::holds_alternative<Kind>(graph_.nodes[node].op);
  }

  /// The one node that reads `node`, or -1.
  int sole_reader(int node) const { return readers_[node].size() == 1 ? readers_[node][0] : -1; }

  /// If `add` is a sum that one of its operands can take along, sets the task's op and residual. The later operand
  /// first: it is the end of the main branch, and the other is ready by then.
  void take_sum(Task& task, int add) const {
    if (!is<Add>(add)) return;
    const auto [first, last] = std::minmax(graph_.nodes[add].inputs[0], graph_.nodes[add].inputs[1]);
    for (const auto& [op, residual] : {std::pair(last, first), std::pair(first, last)})
      if (traits(graph_.nodes[op].op).takes_epilogue && sole_reader(op) == add && may_overwrite(residual, add)) {
        task.op = op, task.residual = residual;
        return;
      }
  }

  /// True if nobody reads `node` once `add` runs. An op that reads `node` itself and takes `add` along counts as
  /// running with `add`, so its input is safe.
  bool may_overwrite(int node, int add) const {
    if (is<Input>(node)) return false;
    return std::all_of(readers_[node].begin(), readers_[node].end(),
                       [&](int reader) { return reader == add || latest_run(reader) < add; });
  }

  /// An upper bound of when `node` runs: the result of the largest task that could take it along.
  int latest_run(int node) const {
    while (traits(graph_.nodes[node].op).takes_epilogue || is<Add>(node)) {
      const int reader = sole_reader(node);
      if (reader < 0 || !(is<Add>(reader) || is<AlphaAct>(reader))) break;
      node = reader;
    }
    return node;
  }

  const Graph& graph_;
  std::vector<std::vector<int>> readers_;
};

}  // namespace

Graph pad_explicitly(const Graph& graph) {
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  Graph padded;
  std::vector<int> new_index;
  for (Node node : graph.nodes) {
    for (int& input : node.inputs) input = new_index[input];
    if (const Window w = convolution_window(node.op); w.pad != nullptr) {
      const auto [top, left, bottom, right] = *w.pad;
      if (std::max({top, left, bottom, right}) >= w.kernel) {
        const int64_t channels = shapes[graph.nodes[new_index.size()].inputs[0]].c;
        node.inputs[0] =
            padded.add(node.name + ".pad", Shortcut{static_cast<int>(channels), 1, *w.pad}, {node.inputs[0]});
        *w.pad = {};
      }
    }
    new_index.push_back(padded.add(node.name, node.op, node.inputs));
  }
  return padded;
}

std::vector<Task> fuse(const Graph& graph) {
  const Fuser fuser(graph);
  std::vector<Task> tasks;
  std::vector<bool> taken(graph.nodes.size(), false);
  for (int node = graph.output(); node > 0; --node) {
    if (taken[node]) continue;
    const Task task = fuser.task_of(node);
    taken[task.op] = true;
    if (task.activation >= 0) taken[graph.nodes[task.activation].inputs[0]] = true;
    tasks.push_back(task);
  }
  std::reverse(tasks.begin(), tasks.end());
  return tasks;
}

std::optional<Task> join_block(const Graph& graph, const std::vector<Task>& tasks, std::size_t last) {
  const auto is_conv2d = [&](const Task& task, const auto& test) {
    const Op& op = graph.nodes[task.op].op;
    return std::holds_alternative<Conv2d>(op) && test(std::get<Conv2d>(op));
  };
  const std::vector<std::vector<int>> readers = consumers(graph);
  // The task that task i reads, if it is the one before it and nobody else reads it.
  const auto follows = [&](std::size_t i) {
    return i > 0 && graph.nodes[tasks[i].op].inputs[0] == tasks[i - 1].result && tasks[i - 1].residual < 0 &&
           readers[tasks[i - 1].result].size() == 1;
  };
  if (!is_conv2d(tasks[last], is_pointwise) || !follows(last) ||
      !std::holds_alternative<DepthwiseConv2d>(graph.nodes[tasks[last - 1].op].op))
    return std::nullopt;
  Task block = tasks[last];
  // A network's first convolution expands its few channels; others are better alone.
  const auto is_first = [&](const Task& task) {
    return is_conv2d(task, [](const Conv2d& op) { return op.groups == 1; }) &&
           std::holds_alternative<Input>(graph.nodes[graph.nodes[task.op].inputs[0]].op);
  };
  const bool expands = follows(last - 1) && (is_conv2d(tasks[last - 2], is_pointwise) || is_first(tasks[last - 2]));
  block.before.assign(tasks.begin() + static_cast<std::ptrdiff_t>(last) - (expands ? 2 : 1),
                      tasks.begin() + static_cast<std::ptrdiff_t>(last));
  return block;
}

Buffers assign_buffers(const Graph& graph, const std::vector<Task>& tasks, const std::vector<int64_t>& sizes) {
  Buffers buffers{std::vector<int>(graph.nodes.size(), -1), {}};
  const auto create = [&](int node, int time) {
    buffers.of_node[node] = static_cast<int>(buffers.lifetimes.size());
    buffers.lifetimes.push_back({sizes[node], time, time});
  };
  const auto use = [&](int node, int time) { buffers.lifetimes[buffers.of_node[node]].last = time; };
  create(0, 0);
  for (int time = 0; time < static_cast<int>(tasks.size()); ++time) {
    const Task& task = tasks[time];
    for (const int input : graph.nodes[task.first()].inputs) use(input, time);
    if (task.residual >= 0) use(task.residual, time);
    if (task.overwritten() >= 0)
      buffers.of_node[task.result] = buffers.of_node[task.overwritten()];
    else
      create(task.result, time);
  }
  use(0, static_cast<int>(tasks.size()));
  return buffers;
}

}  // namespace pleat
