// How Pleat computes with several threads, for whoever meets such a thing for the first time.
//
// A region (a call of parallel_for) is work on [0, n), cut into parts that do not depend on each other. The thread that
// opens it computes too, helped by the other threads of its team, which live as long as it does (core/thread_team.hpp).
// When all parts are done it goes on.
//
// Same bits. Floating-point sums depend on the order of adding. So how a range is cut depends on its size and on the
// number of threads asked for alone, never on who is fast today: a part has a number, scratch memory and sums of its
// own, and these sums are added up in the order of the parts. Who runs a part does not matter, and is not told to it.
//
// Busy machines. Other programs want the cores as well, and a thread that has just lost its core holds up everybody who
// waits for it, for some milliseconds, a hundred times as long as a region takes. Therefore
//   - parts belong to whoever takes them: each thread begins with its own, which are in its cache from the region
//   before,
//     and then takes what the others have not begun. Nobody waits for a thread that has nothing in hand.
//   - a thread waits by spinning, which notices within a tenth of a microsecond what happened, but only while the
//   thread
//     that it waits for runs: every dozen microseconds it reads how much processor time that one got. If it got none,
//     the waiting thread goes to sleep and leaves the core to others. The kernel gives it back soon after it was woken,
//     to both at about the same time.
// On a quiet machine threads thus hardly ever sleep between regions, and on a busy one they get nearly the whole of the
// share that the kernel's scheduler grants.
//
// Why these are not OpenMP's threads: libgomp's wait for each other at the end of a region even if nothing is left to
// do, and spin for milliseconds, or never, as the environment said when the process was started. They are also those of
// the program that calls libpleat, whose floating-point modes and settings are not ours to change. oneDNN, which would
// use them, is told to use the calling thread alone, and called for a slice of the work in each part (core/onednn.hpp).
#pragma once

#include <cfenv>
#include <cstdint>
#include <functional>

#include "core/function_ref.hpp"
#include "core/split.hpp"

namespace pleat {

/// Threads that regions opened by the calling thread use: its ThreadScope's, else the process's, which are
/// default_threads() (core/cores.hpp) unless set.
int num_threads();

/// Sets the process's thread count from here on (1 to 1024, else std::invalid_argument).
void set_num_threads(int n);

/// Binds each thread of the teams started from here on, and the calling thread, to a core of its own. Throws
/// std::runtime_error if this process may use fewer cores than num_threads().
void pin_threads();

/// Makes the calling thread treat denormals as zero (they cost tens of times a normal operation) and oneDNN, when
/// called from it, use no other threads. Teams' threads are so from the start.
void prepare_thread();

/// While it lives, the calling thread computes with `n` threads, whatever the process's count, and is prepared as by
/// prepare_thread(). Afterwards its floating-point mode and OpenMP settings are what they were: for callers who know
/// nothing of either. Throws std::invalid_argument for n below 1 or above 1024.
class ThreadScope {
 public:
  explicit ThreadScope(int n);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int outer_, openmp_threads_;
  std::fenv_t environment_;
};

/// Runs body(begin, end, part) once for each of min(n, num_threads()) parts of [0, n), `part` counting them. Two parts
/// may run on one thread, one after the other. Within a body, parallel_for runs all its parts on the calling thread.
/// Exceptions must not leave the body. Throws std::runtime_error, before any part was run, if a thread cannot be
/// started.
void parallel_for(int64_t n, FunctionRef<int64_t, int64_t, int> body);

}  // namespace pleat
