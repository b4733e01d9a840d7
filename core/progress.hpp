// Shows the progress of long work on standard error: on a terminal as a bar with the rate and the time left, elsewhere as a
// line of text every few seconds, and with --quiet not at all.
#pragma once

#include <cstdint>
#include <string>

#include "core/clock.hpp"

namespace pleat {

/// One progress bar.
class Progress {
 public:
  /// `label` is what is being done ("epoch 3/10"), `total` the amount of work, counted in `unit` ("images"). Prints nothing if
  /// `quiet`.
  Progress(std::string label, std::string unit, int64_t total, bool quiet);
  ~Progress();  ///< Removes the bar from the terminal.
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Reports that `done` units are finished; `extra` ("loss 1.23") is printed after the numbers. May be called often: it
  /// prints at most ten times a second on a terminal and every ten seconds elsewhere.
  void update(int64_t done, const std::string& extra = "");

 private:
  std::string label_, unit_;
  int64_t total_;
  bool quiet_, terminal_, drawn_ = false;
  Clock::time_point start_, last_;
};

/// Whole seconds as text for people: "1:02:03", "4:05", "7 s".
std::string format_duration(double seconds);

}  // namespace pleat
