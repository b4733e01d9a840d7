// Writes an executor's tape. Private to ops/exec.
#pragma once

#include <vector>

#include "ops/exec/exec.hpp"

namespace pleat {

/// The parts of an executor that recording reads, and the two that it fills. They must outlive the tape.
struct ExecParts {
  const Graph& graph;
  Tensors& tensors;
  const ExecOptions& options;
  const std::vector<Nhwc>& shapes;  ///< For the whole batch.
  const ExecPlan& plan;
  Tensors& gradients;  ///< Of the parameters: gets one for each that is trained.
  ExecMemory& memory;  ///< Gets the buffers and when they are used.
};

/// Records the steps of the plan on `tape`. Returns where the graph's values and their gradients are.
ExecBuffers record_steps(const ExecParts& parts, Tape& tape);

}  // namespace pleat
