// Runs training steps on random pictures, without a data set and without evaluation, to measure the speed of training.
#pragma once

#include <cstdint>
#include <vector>

#include "core/model.hpp"
#include "ops/exec/exec.hpp"
#include "ops/exec/step_times.hpp"

namespace pleat {

/// A training step is the forward pass, the cross entropy, the backward pass and SGD with momentum for all parameters,
/// including the alphas.
class TrainingSteps {
 public:
  TrainingSteps(Model model, const ExecOptions& options);
  void step(StepTimes* times = nullptr);  ///< Runs one; `times` collects the times of its parts.
  const Exec& exec() const { return exec_; }
  const Model& model() const { return model_; }

 private:
  Model model_;
  Exec exec_;
  AlignedVector<float> images_;
  std::vector<int32_t> labels_;
  Tensors velocities_;
};

/// Returns the seconds of each of `runs` training steps. `warmup` steps come before, which are not measured.
std::vector<double> time_training(Model model, const ExecOptions& options, int64_t warmup, int64_t runs);

}  // namespace pleat
