// A race on purpose: `make tsan` checks that ThreadSanitizer reports it, so that its silence about the others says
// something.
#include <doctest/doctest.h>

#include <atomic>

#include "core/parallel.hpp"

namespace pleat {

TEST_CASE("planted: two parts write to one place" * doctest::skip()) {
  set_num_threads(2);
  std::atomic<int> started = 0;
  int64_t written = -1;
  parallel_for(2, [&](int64_t begin, int64_t, int) {
    // Until the other part has begun as well, on another thread then. Relaxed, so that it puts nothing in order.
    started.fetch_add(1, std::memory_order_relaxed);
    while (started.load(std::memory_order_relaxed) < 2) {
    }
    written = begin;
  });
  CHECK(written >= 0);
}

}  // namespace pleat
