// Where a batch is cut into pieces: how many pictures of it run through a group of steps together, so that what one
// step writes is still in the cache when the next one reads it. Part of ops/exec/plan.cpp; ops/exec/tape.hpp runs them.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/exec/plan.hpp"

namespace pleat {

/// For each group of `plan`, whose steps and types are known, the pictures in a piece, a divisor of the batch.
/// `shapes` are those of one picture.
std::vector<int64_t> choose_batch_pieces(const Graph& graph, const ExecPlan& plan, const std::vector<Nhwc>& shapes,
                                         const ExecPlanOptions& options);

}  // namespace pleat
