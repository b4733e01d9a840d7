// Calls the C API continuously from 4 threads with 4 handles each, compares every result bit for bit with the first one
// and watches the memory. `make soak` does this for an hour, the usual tests for a few seconds.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.hpp"
#include "core/rng.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"
#include "fold/engine/pleat.h"
#include "fold/fold.hpp"
#include "ops/model_file.hpp"
#include "tests/temp_dir.hpp"
#include "tools/open_model.hpp"

using namespace pleat;

namespace {

/// A handle with an input and the output of its first call.
class Caller {
 public:
  Caller(pleat_engine* engine, uint64_t seed) : engine_(engine) {
    REQUIRE(engine_);
    int64_t shape[4];
    pleat_input_shape(engine, shape);
    input_.resize(shape[0] * shape[1] * shape[2] * shape[3]);
    Rng rng(seed);
    for (float& value : input_) value = static_cast<float>(rng.normal());
    pleat_output_shape(engine, shape);
    output_.resize(shape[0] * shape[1] * shape[2] * shape[3]);
    REQUIRE(call());
    first_ = output_;
  }

  /// Makes another handle that shares the weights.
  Caller share(uint64_t seed) const { return {pleat_share(engine_.get()), seed}; }

  /// Runs the network and returns whether the output has the same bits as that of the first call.
  bool call_repeats() { return call() && output_ == first_; }

 private:
  bool call() {
    std::ranges::fill(output_, NAN);
    return pleat_run(engine_.get(), input_.data(), input_.size(), output_.data(), output_.size()) == 0;
  }

  struct Free {
    void operator()(pleat_engine* engine) const { pleat_free(engine); }
  };
  std::unique_ptr<pleat_engine, Free> engine_;
  std::vector<float> input_, output_, first_;
};

double resident_mb() {
  int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return static_cast<double>(resident * sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double soak_seconds() {
  const char* text = std::getenv("PLEAT_SOAK_SECONDS");
  return text ? std::atof(text) : 3;
}

}  // namespace

TEST_CASE("soak: 4 threads with 4 handles each get no wrong result, and memory does not grow") {
  const TempDir folder;
  save_model(folder.path("a"), named_model("resnet20", dataset_info("cifar10"), 1));
  // With borders.
  save_model(folder.path("b"),
             fold(named_model("mobilenet_v2_0.75_cifar", dataset_info("cifar10"), 2), {.depth = 14}).model);
  const char* narrow = cpu_has_bf16() ? "bf16" : "f32";
  std::vector<std::vector<Caller>> threads(4);
  for (const auto& [file, batch, dtype, compute_threads] :
       {std::tuple("a", 1, "f32", 1), {"a", 3, "f32", 2}, {"b", 1, "f32", 2}, {"b", 2, narrow, 1}}) {
    const pleat_options options{sizeof options, batch, dtype, compute_threads, 1};
    const Caller& first = threads[0].emplace_back(pleat_load(folder.path(file).c_str(), &options), 0);
    for (std::size_t t = 1; t < threads.size(); ++t) threads[t].push_back(first.share(t));
  }

  const double seconds = soak_seconds(), warm_up = seconds / 4, interval = std::max(1.0, seconds / 60);
  const Clock::time_point start = Clock::now();
  std::atomic<int64_t> calls = 0, wrong = 0;
  std::vector<std::jthread> running;
  for (std::vector<Caller>& callers : threads)
    running.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested())
        for (Caller& caller : callers) {
          if (!caller.call_repeats()) ++wrong;
          ++calls;
        }
    });
  double warm_mb = 0, mb = 0;
  while (seconds_since(start) < seconds && wrong == 0) {
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(interval, seconds)));
    const double elapsed = seconds_since(start);
    mb = resident_mb();
    if (warm_mb == 0 && elapsed >= warm_up) warm_mb = mb;
    std::printf("soak: %.0f of %.0f s, %ld calls, %.0f a second, %ld wrong, %.1f MB\n", elapsed, seconds,
                static_cast<long>(calls), static_cast<double>(calls) / elapsed, static_cast<long>(wrong), mb);
    std::fflush(stdout);
  }
  for (std::jthread& thread : running) thread.request_stop();
  running.clear();
  CHECK(calls > 0);
  CHECK(wrong == 0);
#ifndef __SANITIZE_ADDRESS__  // which keeps freed memory
  CHECK(mb < warm_mb + 1);
#endif
}
