// Which nodes of a graph become one step of the executor: a batch norm takes the residual add and the activation behind
// it along. Part of ops/exec/plan.cpp.
#pragma once

#include <vector>

#include "ops/exec/plan.hpp"

namespace pleat {

/// The steps of `graph` in topological order, with their groups: in training a batch norm needs the statistics of the
/// whole batch before it can be applied, so a step of its own collects them, and a new group begins behind that step.
std::vector<PlannedStep> fuse_steps(const Graph& graph, bool training);

}  // namespace pleat
