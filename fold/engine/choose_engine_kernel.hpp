// Which kernel the engine computes a task with: oneDNN's, Winograd's, a product, or for several tasks at once the fused
// inverted residual block (private to the engine). ops/conv/tuner.hpp times them.
#pragma once

#include <vector>

#include "core/tensor.hpp"
#include "fold/engine/steps.hpp"
#include "ops/conv/tuner.hpp"

namespace pleat {

struct Tuning {
  explicit Tuning(const EngineNetwork& network);

  Tuner tuner;
  std::size_t run_bytes;            ///< What a run of the network reads: its weights, and two large values.
  AlignedVector<std::byte> others;  ///< So much memory, once something has to be timed.
};

/// Steps for the tasks from `at` on that are best computed together: the first step's task, and the tasks before it,
/// say which. With `tuning` by timing, remembered in its cache; without one by rule.
std::vector<EngineStep> choose_steps(const EngineNetwork& network, const std::vector<Task>& tasks, std::size_t at,
                                     Tuning* tuning);

}  // namespace pleat
