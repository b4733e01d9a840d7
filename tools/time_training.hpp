// The speed of training alone, for benchmarks: no data set, no evaluation.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model.hpp"
#include "ops/exec.hpp"

namespace pleat {

/// Seconds of each of `runs` training steps (forward, cross entropy, backward, SGD with momentum on all parameters,
/// alphas among them) on `batch` random pictures, after `warmup` steps that do not count.
std::vector<double> time_training(Model model, int64_t batch, Kernels kernels, int64_t warmup, int64_t runs);

}  // namespace pleat
