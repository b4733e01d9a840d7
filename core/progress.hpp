// Progress of long work on standard error: a bar with rate and time left on a terminal, a plain line now and then
// elsewhere, nothing with --quiet. When other programs want the cores as well, the line says how much of them Pleat's
// threads get.
#pragma once

#include <cstdint>
#include <string>

#include "core/clock.hpp"
#include "core/machine.hpp"

namespace pleat {

class Progress {
 public:
  /// `total` units (images, say) under `label` ("epoch 3/10"). Prints nothing if `quiet`.
  Progress(std::string label, std::string unit, int64_t total, bool quiet);
  ~Progress();  ///< Takes the bar off the terminal.
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Reports that `done` units are finished; `extra` ("loss 1.23") is appended. Cheap: prints at most ten times a
  /// second on a terminal, every ten seconds elsewhere.
  void update(int64_t done, const std::string& extra = "");

 private:
  void look_at_cpu(Clock::time_point now);

  std::string label_, unit_;
  int64_t total_;
  bool quiet_, terminal_, drawn_ = false;
  Clock::time_point start_, last_, looked_;
  CpuUse use_;
  std::string busy_;  ///< What the last look at the CPU time has found.
};

/// "1:02:03", "4:05", "7 s": whole seconds, for people.
std::string format_duration(double seconds);

}  // namespace pleat
