// Which way the engine computes what can be computed in several (private to the engine).
#pragma once

#include <vector>

#include "core/tensor.hpp"
#include "ops/conv/tune_cache.hpp"
#include "fold/engine/steps.hpp"

namespace pleat {

struct Tuning {
  explicit Tuning(const EngineNetwork& network);

  TuneCache cache;
  std::size_t run_bytes;            ///< What a run of the network reads: its weights, and two large values.
  AlignedVector<std::byte> others;  ///< So much memory, once something has to be timed.
};

/// Steps for the tasks from `at` on that are best computed together: the first step's task, and the tasks before it,
/// say which. With `tuning` by timing, remembered in its cache; without one by rule.
std::vector<EngineStep> choose_steps(const EngineNetwork& network, const std::vector<Task>& tasks, std::size_t at,
                                     Tuning* tuning);

}  // namespace pleat
