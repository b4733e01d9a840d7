// One block of memory for all buffers whose lifetimes are known beforehand. Two buffers share bytes only if their
// lifetimes do not meet.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.hpp"

namespace pleat {

/// A buffer that must hold `size` floats from step `first` to step `last`, both included.
struct Lifetime {
  int64_t size = 0;
  int first = 0, last = 0;
};

/// Offsets (in floats, multiples of 16: 64 bytes) for each buffer, and the total. Greedy by size: largest first, each
/// at the lowest offset free during its lifetime (Pisarchyk & Lee 2020, arXiv:2001.03288).
struct ArenaPlan {
  std::vector<int64_t> offsets;
  int64_t total = 0;
};
ArenaPlan plan_arena(const std::vector<Lifetime>& buffers);

}  // namespace pleat
