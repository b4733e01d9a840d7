// Time as measured inside a process.
#pragma once

#include <chrono>

namespace pleat {

/// Never set back, unlike the time of day.
using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Seconds that one call of `body` takes.
template <class Body>
double seconds_of(const Body& body) {
  const Clock::time_point start = Clock::now();
  body();
  return seconds_since(start);
}

}  // namespace pleat
