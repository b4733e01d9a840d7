// Counts memory allocations, to test that a training step or an inference call allocates nothing after the first one.
#pragma once

#include <cstddef>
#include <functional>

namespace pleat::testing {

struct Allocations {
  int own = 0;                            ///< On all threads, what oneDNN allocates inside apart.
  std::size_t largest_inside_onednn = 0;  ///< Bytes.
};

/// Counts the allocations of `call`. Under a sanitizer, which needs the allocator itself, nothing is counted.
Allocations count_allocations(const std::function<void()>& call);

}  // namespace pleat::testing
