// The learning rate at each training step, as a function of the step alone, so that a resumed run needs no state.
// Steps count from 0 to total_steps - 1. With W = warmup_steps, the first W steps of all kinds but `onecycle` climb
// linearly, lr * (step + 1) / W; then, with T = total_steps:
//   constant  lr
//   step      lr * gamma^(milestones reached); fraction f is reached at step round(f * T)      (PyTorch's MultiStepLR)
//   cosine    lr * (1 + cos(pi * (step - W) / (T - W))) / 2: lr at step W, 0 at step T         (CosineAnnealingLR)
//   onecycle  linear from lr/25 at step 0 to lr at step W - 1, then linear down to lr/250000 at step T - 1
//             (OneCycleLR with anneal_strategy='linear', pct_start = W/T; Smith & Topin 2017, arXiv:1708.07120)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pleat {

struct Schedule {
  enum class Kind { constant, step, cosine, onecycle };
  Kind kind = Kind::cosine;
  double lr = 0.1;  ///< The highest rate.
  int64_t total_steps = 1;
  int64_t warmup_steps = 0;
  std::vector<double> milestones = {0.5, 0.75};  ///< Fractions of total_steps, for `step`.
  double gamma = 0.1;                            ///< Factor at each milestone.
};

/// Throws std::invalid_argument unless 0 <= warmup_steps <= total_steps, total_steps >= 1 and step >= 0. Steps past the
/// end get the end's rate.
double lr_at(const Schedule& schedule, int64_t step);

/// Throws std::invalid_argument with the valid names.
Schedule::Kind parse_schedule_kind(const std::string& name);

}  // namespace pleat
