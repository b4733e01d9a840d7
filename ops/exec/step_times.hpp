// Where a network's time goes: an observer for Tape::forward and Tape::backward.
#pragma once

#include <array>
#include <vector>

#include "core/clock.hpp"
#include "ops/exec/tape.hpp"

namespace pleat {

class StepTimes {
 public:
  explicit StepTimes(std::size_t steps) : seconds_(steps) {}

  void start() { last_ = Clock::now(); }  ///< Before each pass that is observed.
  void operator()(const TapeStep& step, Pass pass, Piece) {
    const Clock::time_point now = Clock::now();
    seconds_[step.index][static_cast<int>(pass)] += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }
  /// Summed over all passes observed.
  double seconds(int step, Pass pass) const { return seconds_[step][static_cast<int>(pass)]; }

 private:
  std::vector<std::array<double, 4>> seconds_;
  Clock::time_point last_;
};

}  // namespace pleat
