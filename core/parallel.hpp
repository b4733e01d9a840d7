// The one thread pool: OpenMP. Work is cut into one contiguous part a thread, so that the same thread count gives the
// same sums in the same order, and so the same bits.
#pragma once

#include <omp.h>

#include <cfenv>
#include <cstdint>
#include <functional>

namespace pleat {

/// Threads that parallel regions opened by the calling thread use: its ThreadScope's, else the process's, which are the
/// physical cores unless set.
int num_threads();

/// Sets the process's thread count from here on (n >= 1, else std::invalid_argument).
void set_num_threads(int n);

/// Physical cores this process may run on.
int physical_cores();

/// Treats denormals as zero on every thread of the pool: they cost tens of times a normal operation.
void flush_denormals();

/// While it lives, the calling thread computes with `n` threads, whatever the process's count, and treats denormals as
/// zero. Afterwards its floating-point mode and its OpenMP settings are what they were: for callers who know nothing of
/// either. Throws std::invalid_argument for n below 1, and for n above 1 inside a parallel region, where OpenMP grants
/// one thread.
class ThreadScope {
 public:
  explicit ThreadScope(int n);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int outer_, threads_ = omp_get_max_threads(), dynamic_ = omp_get_dynamic();
  std::fenv_t environment_;
};

/// Part `part` of `parts` of [0, n): contiguous, sizes differing by at most one.
struct Range {
  int64_t begin, end;
};
inline Range split(int64_t n, int part, int parts) {
  return {n * part / parts, n * (part + 1) / parts};
}

/// A function object of the caller's that outlives the call, and how to call it.
template <class... Args>
class FunctionRef {
 public:
  template <class Body>
  FunctionRef(const Body& body)
      : body_(&body), call_([](const void* object, Args... args) { (*static_cast<const Body*>(object))(args...); }) {}
  void operator()(Args... args) const { call_(body_, args...); }

 private:
  const void* body_;
  void (*call_)(const void*, Args...);
};

/// Runs body(begin, end, part) once for each of min(n, num_threads()) parts of [0, n), `part` counting them, each on a
/// thread of its own if OpenMP grants that many (a nested region gets one). Exceptions must not leave the body.
void parallel_for(int64_t n, FunctionRef<int64_t, int64_t, int> body);

/// Runs body(thread) on each of num_threads() threads. A parallel_for in it, which all must call alike, shares its work
/// among them, for a tenth of what a parallel region of its own costs; what is outside of one all threads do. Within
/// such a body it runs the other as part of it. Exceptions must not leave the body.
void together(FunctionRef<int> body);

}  // namespace pleat
