// Counts what a call allocates: for the promise that a step, once warm, allocates nothing.
#pragma once

#include <cstddef>
#include <functional>

namespace pleat::testing {

struct Allocations {
  int own = 0;                            ///< On all threads, what oneDNN allocates inside apart.
  std::size_t largest_inside_onednn = 0;  ///< Bytes.
};

/// What `call` allocates. Under a sanitizer, which needs the allocator for itself, nothing is counted.
Allocations count_allocations(const std::function<void()>& call);

}  // namespace pleat::testing
