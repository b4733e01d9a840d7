// A race on purpose: `make tsan` checks that ThreadSanitizer reports it, so that its silence about the others says
// something.
#include <doctest/doctest.h>

#include <vector>

#include "core/parallel.hpp"

namespace pleat {

TEST_CASE("planted: a loop reads what another thread is writing" * doctest::skip()) {
  constexpr int64_t kSize = 1000;
  set_num_threads(4);
  std::vector<int64_t> values(kSize);
  together([&](int) {
    for (int step = 0; step < 100; ++step)
      parallel_for(kSize, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) values[i] = values[(end + i) % kSize] + 1;
      });
  });
}

}  // namespace pleat
