// Regions of several threads: who runs which part, the same bits on busy machines, forks, threads that cannot start.
#include "core/parallel.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

#include "core/cores.hpp"
#include "core/onednn_slices.hpp"
#include "core/rng.hpp"
#include "ops/exec/exec.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"
#include "tools/open_model.hpp"

using namespace pleat;
using testing::Threads;

namespace {

// While it lives, so many threads compute beside the test, as other programs do.
class Neighbours {
 public:
  explicit Neighbours(int count) {
    for (int i = 0; i < count; ++i)
      threads_.emplace_back([](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
        }
      });
  }

 private:
  std::vector<std::jthread> threads_;
};

// Short regions one after the other, each of which reads what the one before wrote. False if one missed something.
bool regions_see_each_other(int64_t rounds) {
  constexpr int64_t kSize = 40;
  std::vector<int64_t> values(kSize, 0);
  int64_t wrong = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    parallel_for(kSize, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) ++values[i];
    });
    std::array<int64_t, 2> sums{};
    parallel_for(2, [&](int64_t first, int64_t last, int) {
      for (int64_t half = first; half < last; ++half)
        for (int64_t i = half * kSize / 2; i < (half + 1) * kSize / 2; ++i) sums[half] += values[i];
    });
    wrong += sums[0] + sums[1] != kSize * (round + 1);
  }
  return wrong == 0;
}

// What `body` returns in a child process; -1 if that takes longer than 20 seconds or ends otherwise.
template <class Body>
int in_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// All gradients of a training step of ResNet-20 on 6 pictures with 3 threads.
std::vector<float> training_step() {
  const Threads threads(3);
  Model model = open_model("resnet20", 5);
  Exec exec(model.graph, model.tensors, {.batch = 6, .training = true});
  Rng rng(7);
  for (float& value : exec.input()) value = static_cast<float>(rng.normal());
  const std::vector<int32_t> labels{0, 1, 2, 3, 4, 5};
  exec.forward();
  cross_entropy_backward<float>(exec.output_gradient(), exec.output(), labels, 10, 0);
  exec.backward();
  std::vector<float> all;
  for (const auto& [name, gradient] : exec.gradients())
    all.insert(all.end(), gradient.values.begin(), gradient.values.end());
  return all;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("parallel: the parts cover everything once and are even") {
  for (int64_t n : {0, 1, 5, 16, 1000003})
    for (int parts : {1, 2, 3, 7, 16}) {
      int64_t end = 0;
      for (int part = 0; part < parts; ++part) {
        const Range range = split(n, part, parts);
        CHECK(range.begin == end);
        CHECK(range.end - range.begin >= n / parts);
        CHECK(range.end - range.begin <= (n + parts - 1) / parts);
        end = range.end;
      }
      CHECK(end == n);
    }
}

TEST_CASE("parallel: parallel_for runs each part once, nested too") {
  const Threads threads(3);
  for (int64_t n : {0, 1, 2, 3, 100}) {
    std::vector<int> touched(n);
    std::array<std::atomic<int>, 3> parts{};
    parallel_for(n, [&](int64_t begin, int64_t end, int part) {
      ++parts[part];
      for (int64_t i = begin; i < end; ++i) ++touched[i];
    });
    CHECK(std::count(touched.begin(), touched.end(), 1) == n);
    for (int part = 0; part < 3; ++part) CHECK(parts[part] == (part < n ? 1 : 0));
  }
  // Within a part, all parts run on its thread; none may be lost, and there are as many as outside.
  std::array<std::atomic<int>, 9> touched{};
  std::atomic<int> wrong = 0;
  parallel_for(3, [&](int64_t, int64_t, int outer) {
    wrong += num_threads() != 3;
    const auto thread = std::this_thread::get_id();
    parallel_for(3, [&](int64_t begin, int64_t end, int part) {
      wrong += begin != part || end != part + 1 || std::this_thread::get_id() != thread;
      for (int64_t i = begin; i < end; ++i) ++touched[outer * 3 + i];
    });
  });
  for (const auto& count : touched) CHECK(count == 1);
  CHECK(wrong == 0);
}

TEST_CASE("parallel: regions see what earlier ones wrote, with more threads than cores, a scope's, several callers") {
  for (const int threads : {1, 2, 3, 16}) {
    const Threads count(threads);
    CHECK(regions_see_each_other(300));
    const ThreadScope scope(threads + 2);
    CHECK(regions_see_each_other(300));
  }
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 4; ++i)
      callers.emplace_back([&, i] {
        const ThreadScope scope(i + 1);
        right += regions_see_each_other(300);
      });
  }
  CHECK(right == 4);
}

TEST_CASE("parallel: a part that no other thread takes is run by the caller") {
  const Threads threads(2);
  std::atomic<int> meetings = 0;
  // Both parts wait for each other once, so that a worker has certainly started; then it is kept in one part.
  parallel_for(2, [&](int64_t, int64_t, int) {
    ++meetings;
    while (meetings < 2) std::this_thread::yield();
  });
  CHECK(meetings == 2);
  const Neighbours neighbours(8);
  std::atomic<int> parts = 0;
  for (int i = 0; i < 2000; ++i) parallel_for(2, [&](int64_t, int64_t, int) { ++parts; });
  CHECK(parts == 4000);
}

TEST_CASE("parallel: many short regions under busy neighbours end soon") {
  const Threads threads(2);
  const Neighbours neighbours(4);
  const auto start = std::chrono::steady_clock::now();
  CHECK(regions_see_each_other(10000));  // with a barrier that waits for a scheduler's time slice each, over a minute
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("parallel: a training step has the same bits on a busy machine") {
  const std::vector<float> quiet = training_step();
  const Neighbours neighbours(3);
  for (int i = 0; i < 3; ++i) CHECK(training_step() == quiet);
}

TEST_CASE("parallel: a child process computes with threads of its own") {
  const Threads threads(3);
  REQUIRE(regions_see_each_other(10));  // the parent has a team now
  CHECK(in_child([] { return regions_see_each_other(100) ? 7 : 8; }) == 7);
  CHECK(regions_see_each_other(10));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("parallel: a thread that cannot be started is an error that says so, and leaves what works") {
  const int code = in_child([] {
    const Threads threads(200);
    rlimit limit{64 << 20, 64 << 20};  // less than there is already: no more stacks
    setrlimit(RLIMIT_AS, &limit);
    const std::string text = error_of<std::runtime_error>([] { parallel_for(200, [](int64_t, int64_t, int) {}); });
    if (text.find("threads: could not start thread") == std::string::npos) return 1;
    set_num_threads(1);
    return regions_see_each_other(3) ? 7 : 2;
  });
  CHECK(code == 7);
}
#endif

TEST_CASE("parallel: thread counts") {
  CHECK(allowed_cores().size() >= 1);
  CHECK(default_threads() >= 1);
  CHECK(error_of<std::invalid_argument>([] { set_num_threads(0); }).find("threads: got 0") != std::string::npos);
  const Threads threads(2);
  CHECK(num_threads() == 2);
}

TEST_CASE("cores: quotas of control groups, of the group itself and of those around it") {
  const TempDir dir;
  const auto quota = [&] { return cpu_quota(dir.path("")); };
  CHECK(!quota());
  write(dir.path("proc/self/cgroup"), "0::/outer/inner\n");
  CHECK(!quota());
  write(dir.path("sys/fs/cgroup/outer/inner/cpu.max"), "max 100000\n");
  CHECK(!quota());
  write(dir.path("sys/fs/cgroup/outer/cpu.max"), "150000 100000\n");
  CHECK(quota() == 1.5);
  write(dir.path("sys/fs/cgroup/outer/inner/cpu.max"), "50000 50000\n");
  CHECK(quota() == 1.0);
  // In a container the group is the root of what it sees.
  write(dir.path("proc/self/cgroup"), "0::/\n");
  write(dir.path("sys/fs/cgroup/cpu.max"), "300000 100000\n");
  CHECK(quota() == 3.0);
  // Version 1, whose controllers are mounted together or each for itself; -1 is no limit.
  write(dir.path("proc/self/cgroup"), "12:memory:/box\n4:cpu,cpuacct:/box\n");
  CHECK(!quota());
  write(dir.path("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us"), "-1\n");
  write(dir.path("sys/fs/cgroup/cpu/box/cpu.cfs_period_us"), "100000\n");
  CHECK(!quota());
  write(dir.path("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us"), "250000\n");
  write(dir.path("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us"), "100000\n");
  CHECK(quota() == 2.5);
}

#if defined(__x86_64__)
TEST_CASE("parallel: denormals are off on every thread") {
  const Threads threads(3);
  prepare_thread();
  std::array<float, 3> halves{1, 1, 1};
  volatile float smallest = std::numeric_limits<float>::min();
  parallel_for(3, [&](int64_t, int64_t, int part) { halves[part] = smallest * 0.5f; });
  for (float half : halves) CHECK(half == 0);
}
#endif
