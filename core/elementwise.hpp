// Loops over the elements of parameters and gradients, shared among threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/parallel.hpp"

namespace pleat {

/// Calls body(first, n) for parts of [0, size), on several threads where there are elements enough.
template <class Body>
void for_elements(int64_t size, const Body& body) {
  constexpr int64_t kBlock = 4096;  // elements; fewer are not worth waking another thread for
  parallel_for((size + kBlock - 1) / kBlock, [&](int64_t first, int64_t last, int) {
    const int64_t begin = first * kBlock;
    body(begin, std::min(last * kBlock, size) - begin);
  });
}

}  // namespace pleat
