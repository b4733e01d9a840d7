#include "tools/train/schedule.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "core/check.hpp"

namespace pleat {
namespace {

constexpr std::array kNames = {"constant", "step",   "cosine",
                               "onecycle", "linear", "rex"};  // in the order of Schedule::Kind
constexpr double kStartDivisor = 25, kEndDivisor = 1e4;       // PyTorch's div_factor, final_div_factor

// How far `step` is from `begin` to `end`, 0 to 1.
double progress(int64_t step, int64_t begin, int64_t end) {
  return step >= end ? 1 : static_cast<double>(step - begin) / static_cast<double>(end - begin);
}

double one_cycle(const Schedule& s, int64_t step) {
  const double start = s.lr / kStartDivisor, end = start / kEndDivisor;
  const int64_t peak = std::max<int64_t>(s.warmup_steps - 1, 0);
  if (step < peak) return std::lerp(start, s.lr, progress(step, 0, peak));
  if (step == peak) return s.lr;
  return std::lerp(s.lr, end, progress(step, peak, s.total_steps - 1));
}

double milestones_reached(const Schedule& s, int64_t step) {
  return static_cast<double>(std::ranges::count_if(s.milestones, [&](double fraction) {
    return step >= std::llround(fraction * static_cast<double>(s.total_steps));
  }));
}

}  // namespace

double lr_at(const Schedule& s, int64_t step) {
  PLEAT_CHECK(s.total_steps >= 1 && s.warmup_steps >= 0 && s.warmup_steps <= s.total_steps,
              "schedule: ", s.warmup_steps, " warm-up steps of ", s.total_steps, ", expected 0 to all of at least 1");
  PLEAT_CHECK(step >= 0, "schedule: step is ", step, ", expected at least 0");
  if (s.kind == Schedule::Kind::onecycle) return one_cycle(s, step);
  if (step < s.warmup_steps) return s.lr * static_cast<double>(step + 1) / static_cast<double>(s.warmup_steps);
  const double t = progress(step, s.warmup_steps, s.total_steps);
  switch (s.kind) {
    case Schedule::Kind::step:
      return s.lr * std::pow(s.gamma, milestones_reached(s, step));
    case Schedule::Kind::cosine:
      return s.lr * (1 + std::cos(std::numbers::pi * t)) / 2;
    case Schedule::Kind::linear:
      return s.lr * (1 - t);
    case Schedule::Kind::rex:
      return s.lr * (1 - t) / (1 - t / 2);
    case Schedule::Kind::constant:
    case Schedule::Kind::onecycle:
      break;
  }
  return s.lr;
}

const char* to_string(Schedule::Kind kind) {
  return kNames.at(static_cast<std::size_t>(kind));
}

Schedule::Kind parse_schedule_kind(const std::string& name) {
  const auto found = std::ranges::find(kNames, name);
  std::string valid;
  for (const char* known : kNames) valid += concat(valid.empty() ? "" : ", ", known);
  PLEAT_CHECK(found != kNames.end(), "schedule: got '", name, "', expected one of ", valid);
  return static_cast<Schedule::Kind>(found - kNames.begin());
}

}  // namespace pleat
