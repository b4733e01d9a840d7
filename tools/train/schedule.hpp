// The learning rate of each training step. It depends on the step's number alone, so that a resumed run needs no state.
// Steps are counted from 0 to T - 1 with T = total_steps. In the first W = warmup_steps of them the rate climbs
// linearly, lr * (step + 1) / W, in all kinds but `onecycle`, which has a climb of its own. After that:
//   constant  lr
//   step      lr * gamma^(milestones reached); a fraction f is reached at step round(f * T)    (PyTorch's MultiStepLR)
//   cosine    lr * (1 + cos(pi * (step - W) / (T - W))) / 2: lr at step W, 0 at step T         (CosineAnnealingLR)
//   linear    lr * (1 - t) with t = (step - W) / (T - W): 0 at step T
//   rex       lr * (1 - t) / (1 - t / 2), which stays high for longer         (Chen et al. 2021, arXiv:2107.04197)
//   onecycle  linear from lr/25 at step 0 to lr at step W - 1, then linear down to lr/250000 at step T - 1
//             (OneCycleLR with anneal_strategy='linear', pct_start = W/T; Smith & Topin 2017, arXiv:1708.07120)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pleat {

struct Schedule {
  enum class Kind { constant, step, cosine, onecycle, linear, rex };
  Kind kind = Kind::cosine;
  double lr = 0.1;  ///< The highest rate.
  int64_t total_steps = 1;
  int64_t warmup_steps = 0;
  std::vector<double> milestones = {0.5, 0.75};  ///< Fractions of total_steps, for `step`.
  double gamma = 0.1;                            ///< Factor at each milestone.
};

/// The rate of one step; steps past the end have the rate of the end. Throws std::invalid_argument unless
/// 0 <= warmup_steps <= total_steps, total_steps >= 1 and step >= 0.
double lr_at(const Schedule& schedule, int64_t step);

/// The kind's name, and the kind of a name; the latter throws std::invalid_argument with the valid names.
const char* to_string(Schedule::Kind kind);
Schedule::Kind parse_schedule_kind(const std::string& name);

}  // namespace pleat
