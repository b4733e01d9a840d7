// Which way the engine computes what can be computed in several (private to the engine).
#pragma once

#include <vector>

#include "core/tune_cache.hpp"
#include "fold/engine_steps.hpp"

namespace pleat {

/// Steps for the tasks from `at` on that are best computed together: the first step's task, and the tasks before it,
/// say which. With a cache by timing, remembered there; without one by rule.
std::vector<EngineStep> choose_steps(const EngineNetwork& network, const std::vector<Task>& tasks, std::size_t at,
                                     TuneCache* cache);

}  // namespace pleat
