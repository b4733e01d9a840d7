// Helpers for tests of kernels: comparing results, and running with another number of threads.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/parallel.hpp"

namespace pleat::testing {

/// Sets the number of threads, if one is given, and restores it at the end of a test.
struct Threads {
  explicit Threads(int n = num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  const int before = num_threads();
};

/// The largest difference divided by the largest expected value; NaN if any value is NaN.
template <class Got, class Expected>
double difference(const Got& got, const Expected& expected) {
  REQUIRE(got.size() == expected.size());
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    if (!(error <= worst)) worst = error;
    if (std::isnan(worst)) break;
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return worst / largest;
}

}  // namespace pleat::testing
