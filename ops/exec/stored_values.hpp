// How the values between steps are kept: in which type they are stored, and which are computed a second time in the
// backward pass instead of being kept. Part of ops/exec/plan.cpp.
#pragma once

#include <vector>

#include "ops/exec/plan.hpp"

namespace pleat {

/// Node -> its value is stored as Bf16: with `bf16` all from the pictures on, up to where a picture is one vector
/// (pooled or flattened, and behind that), which stays float. Throws std::invalid_argument, naming the node, where
/// values of both types meet or the network's output would be Bf16.
std::vector<bool> choose_bf16(const Graph& graph, bool bf16);

/// Node -> its value is computed again. `plan` has its steps and types.
std::vector<bool> choose_recomputed(const Graph& graph, const ExecPlan& plan, const ExecPlanOptions& options);

}  // namespace pleat
