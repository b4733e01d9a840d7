// What the engine decides on the graph alone: explicit padding, which nodes are computed together, which values share
// memory.
#pragma once

#include <optional>
#include <vector>

#include "core/arena.hpp"
#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// The same network with the padding of convolutions that is as wide as their kernel (they arise when a group's padding
/// is moved to its first convolution) done before them by a Shortcut `name.pad`: half of oneDNN's kernels refuse such
/// padding and leave it to slow general ones.
Graph pad_explicitly(const Graph& graph);

/// One step of inference: y = activation(op(x) + residual). Indices of nodes; -1 for none.
struct Task {
  int op = 0;           ///< The node that computes: anything but Input.
  int residual = -1;    ///< The node whose value is added; y takes over its memory.
  int activation = -1;  ///< The AlphaAct behind.
  int result = 0;       ///< The node whose value y is: the last of op, the sum and the activation.
  /// Tasks computed together with this one, in order, each reading the one before: their values are never in memory.
  std::vector<Task> before = {};

  /// The first node that computes.
  int first() const { return before.empty() ? op : before.front().op; }
  /// The value that y takes the memory of, or -1. Tasks computed together read the residual and write elsewhere.
  int overwritten() const { return before.empty() ? residual : -1; }
};

/// The graph's tasks in the order to run them. Convolutions, batch norms and linear layers take the sum and the
/// activation behind them along, provided nobody else reads the values between. A sum is taken along only if it may
/// overwrite its other operand: that is not the network's input, this op does not read it too, and all others that read
/// it have run before.
std::vector<Task> fuse(const Graph& graph);

/// The inverted residual block that ends with task `last`, as one task: a 1x1 convolution, a depthwise one before it
/// and, if there is one, before that a 1x1 convolution or the network's first, none of whose values others read. Else
/// std::nullopt.
std::optional<Task> join_block(const Graph& graph, const std::vector<Task>& tasks, std::size_t last);

/// Buffers of the tasks' values; a time is a task's index.
struct Buffers {
  std::vector<int> of_node;         ///< The buffer that holds a node's value; -1: the value is never in memory.
  std::vector<Lifetime> lifetimes;  ///< By buffer. The input's lasts to the end: it may be run again.
};
/// `sizes` of nodes' values, in floats.
Buffers assign_buffers(const Graph& graph, const std::vector<Task>& tasks, const std::vector<int64_t>& sizes);

}  // namespace pleat
