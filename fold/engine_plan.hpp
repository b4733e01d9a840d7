// What the engine decides on the graph alone: explicit padding, which nodes are computed together, which values share
// memory.
#pragma once

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
};

/// The graph's tasks in the order to run them. Convolutions, batch norms and linear layers take the sum and the
/// activation behind them along, provided nobody else reads the values between. A sum is taken along only if it may
/// overwrite its other operand: that is not the network's input, this op does not read it too, and all others that read
/// it have run before.
std::vector<Task> fuse(const Graph& graph);

/// Buffers of the tasks' values; a time is a task's index.
struct Buffers {
  std::vector<int> of_node;         ///< The buffer that holds a node's value; -1: the value is never in memory.
  std::vector<Lifetime> lifetimes;  ///< By buffer. The input's lasts to the end: it may be run again.
};
Buffers assign_buffers(const Graph& graph, const std::vector<Task>& tasks, const std::vector<Nhwc>& shapes);

}  // namespace pleat
