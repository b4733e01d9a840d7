// The threads that compute for one calling thread: how they share the parts of a region and wait for each other.
// Private to core/parallel.cpp; core/parallel.hpp explains the ideas.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <thread>

#include "core/function_ref.hpp"

namespace pleat {

class ThreadTeam {
 public:
  /// Starts `threads` - 1 workers (at least one) and waits until each has called prepare(its index, from 1 on). The
  /// calling thread is thread 0, and the only one that may call run(). Throws std::runtime_error if a worker cannot be
  /// started.
  ThreadTeam(int threads, void (*prepare)(int thread));
  ~ThreadTeam();  ///< Ends the workers and waits for them.
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return threads_; }

  /// Runs body(part) once for each of `parts` parts (2 to threads()) on at most as many threads of the team, and
  /// returns when all are done. In every region each thread starts with the part of its own number, whose values are
  /// then in its cache, and afterwards takes parts that others have not begun. Exceptions must not leave the body.
  void run(int parts, FunctionRef<int> body);

 private:
  // What one thread writes and others read has cache lines of its own: two of them, because processors fetch pairs.
  static constexpr std::size_t kLine = 128;

  /// The region that last claimed a part. Raising it to the open region's number claims the part in that region.
  struct alignas(kLine) Claim {
    std::atomic<uint64_t> region = 0;
  };
  struct alignas(kLine) Worker {
    std::atomic<bool> is_in_part = false;
    clockid_t cpu_clock = 0;  ///< Tells the CPU time that the thread got.
    std::thread thread;
  };
  /// The open region. Its number includes how many parts it has, so that both are read at once. Only a thread that has
  /// claimed a part may read the body: the region cannot end before that part is done.
  struct alignas(kLine) Region {
    std::atomic<uint64_t> number = 0;
    const FunctionRef<int>* body = nullptr;
  };

  void work(int thread);
  void run_parts(uint64_t region, int thread);
  uint64_t wait_for_region_after(uint64_t last);
  void wait_for_parts();
  void ring();
  void stop();

  const int threads_;
  std::unique_ptr<Claim[]> claims_;
  std::unique_ptr<Worker[]> workers_;  // [threads_]; the first stands for the calling thread
  Region open_;
  alignas(kLine) std::atomic<uint32_t> unfinished_ = 0;  // parts of the open region; the caller sleeps on it
  std::atomic<bool> caller_sleeps_ = false;
  alignas(kLine) std::atomic<uint32_t> bell_ = 0;  // changes with every region; workers sleep on it
  std::atomic<bool> workers_sleep_ = false, stops_ = false;
  std::atomic<uint32_t> prepared_ = 0;  // workers
};

}  // namespace pleat
