// How Pleat computes with several threads, for readers who have never met such a thing.
//
// A *region* is one call of parallel_for: work on [0, n), cut into *parts* that do not depend on each other. The thread
// that opens a region computes too, helped by the other threads of its *team*, which live as long as it does
// (core/thread_team.hpp). It goes on when all parts are done.
//
// Same bits. Floating-point sums depend on the order of the additions. So how a range is cut depends on its size and on
// the number of threads asked for, never on who is fast today. Each part has a number, and scratch memory and sums of
// its own; these sums are added in the order of the parts. Which thread runs a part does not matter. Kernels call a
// part's number `thread`, because each thread begins with the part of its own number.
//
// Busy machines. Other programs want the cores as well. A thread that has lost its core would hold up everybody who
// waits for it for milliseconds, a hundred times as long as a region takes. Therefore:
// - Whoever has time runs the next part. Each thread begins with its own part, whose values are in its cache from the
//   region before, and then takes parts that no other thread has begun. Nobody waits for a thread that has nothing in
//   hand.
// - A thread waits by spinning, which notices within a tenth of a microsecond what has happened, but only while the
//   thread that it waits for runs. Every dozen microseconds it reads how much processor time that one has got. If it
//   has got too little, the waiting thread goes to sleep and leaves its core to others; the kernel gives it a core back
//   soon after it has been woken.
// On a quiet machine threads thus hardly ever sleep between regions that follow each other closely. On a busy one they
// get nearly the whole share that the kernel's scheduler grants them.
//
// Why these are not OpenMP's threads: GCC's runtime makes them wait for each other at the end of a region even if
// nothing is left to do, and they spin for milliseconds or never, as the environment said when the process started.
// Besides, they belong to the program that calls libpleat, whose floating-point modes and settings are not ours to
// change. oneDNN, which would use them, is told to use the calling thread alone and is called for a slice of the work
// in each part (core/onednn_slices.hpp).
#pragma once

#include <cfenv>
#include <cstdint>
#include <functional>

#include "core/function_ref.hpp"
#include "core/split.hpp"

namespace pleat {

/// How many threads the regions use that the calling thread opens: what its ThreadScope says, else the process's count,
/// which is default_threads() (core/cores.hpp) unless it was set.
int num_threads();

/// Sets the process's thread count from here on (1 to 1024, else std::invalid_argument).
void set_num_threads(int n);

/// Binds each thread of the teams started from here on, and the calling thread, to a core of its own. Throws
/// std::runtime_error if this process may use fewer cores than num_threads().
void pin_threads();

/// Makes the calling thread treat denormals as zero, because they cost tens of times a normal operation, and makes
/// oneDNN use no other threads when it is called from this one. The threads of teams are prepared when they start.
void prepare_thread();

/// While it lives, the calling thread computes with `n` threads, whatever the process's count, and is prepared as by
/// prepare_thread(). Afterwards its floating-point mode and OpenMP settings are as before, for callers who know nothing
/// of either. Throws std::invalid_argument for n below 1 or above 1024.
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
