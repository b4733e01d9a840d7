// How a range is cut into parts.
#pragma once

#include <cstdint>

namespace pleat {

struct Range {
  int64_t begin, end;
};

/// Part `part` of `parts` of [0, n): contiguous, sizes differing by at most one.
inline Range split(int64_t n, int part, int parts) {
  return {n * part / parts, n * (part + 1) / parts};
}

}  // namespace pleat
