// The speed of training alone, for benchmarks: no data set, no evaluation.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model.hpp"
#include "ops/exec/step_times.hpp"
#include "ops/exec/exec.hpp"

namespace pleat {

/// Training steps (forward, cross entropy, backward, SGD with momentum on all parameters, alphas among them) on random
/// pictures.
class TrainingSteps {
 public:
  TrainingSteps(Model model, const ExecOptions& options);
  void step(StepTimes* times = nullptr);
  const Exec& exec() const { return exec_; }
  const Model& model() const { return model_; }

 private:
  Model model_;
  Exec exec_;
  AlignedVector<float> images_;
  std::vector<int32_t> labels_;
  Tensors velocities_;
};

/// Seconds of each of `runs` training steps, after `warmup` that do not count.
std::vector<double> time_training(Model model, const ExecOptions& options, int64_t warmup, int64_t runs);

}  // namespace pleat
