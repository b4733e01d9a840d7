// A sum that does not depend on the number of threads.
#pragma once

#include <array>
#include <cstdint>

#include "core/parallel.hpp"

namespace pleat {

/// Adds up part(begin, end) over [0, n), cut into the same parts whatever the thread count, added in order: the same
/// bits always, and no allocation. Exceptions must not leave `part`.
template <class Part>
double parallel_sum(int64_t n, const Part& part) {
  constexpr int kParts = 256;
  std::array<double, kParts> sums{};
  const int parts = static_cast<int>(n < kParts ? n : kParts);
  parallel_for(parts, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Range range = split(n, static_cast<int>(i), parts);
      sums[i] = part(range.begin, range.end);
    }
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace pleat
