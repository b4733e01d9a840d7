// How a graph is run: which nodes become one step, where the whole batch must be waited for, and which values are not
// worth keeping for the backward pass. Read by ops/exec/recorder.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// What becomes one step: a node; or a batch norm with the add and activation behind it, which writes the last one's
/// value; or, in training, the batch statistics it needs, which write none.
struct PlannedStep {
  int node;
  int batch_norm = -1, act = -1;  ///< Nodes, -1: not part of it.
  bool statistics = false;
  std::vector<int> inputs = {};  ///< Nodes whose values are read; behind a batch norm's input, the residual.
  int group = 0;
  int index = 0;           ///< In ExecPlan::steps.
  int index_in_group = 0;  ///< Among the steps of its group.
};

struct ExecPlan {
  std::vector<PlannedStep> steps;  ///< In topological order.
  std::vector<int64_t> pieces;     ///< Group -> pictures in a piece.
  std::vector<bool> recompute;     ///< Node -> value is computed again in the backward pass, cheaper than kept.
  std::vector<bool> bf16;          ///< Node -> value is stored as Bf16.
  int groups() const { return static_cast<int>(pieces.size()); }
  int value_bytes(int node) const { return bf16[node] ? 2 : 4; }  ///< Of one element.
};

struct ExecPlanOptions {
  int64_t batch = 1;
  bool training = false, bf16 = false;
  int64_t piece = 0;               ///< Pictures in a piece; 0: as many as fit the cache.
  const std::vector<int>* keep{};  ///< Nodes whose values must be kept.
};

/// `shapes` for one picture. Throws std::invalid_argument if `piece` does not divide the batch.
ExecPlan plan_exec(const Graph& graph, const std::vector<Nhwc>& shapes, const ExecPlanOptions& options);

}  // namespace pleat
