#include "core/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "core/check.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pleat {
namespace {

std::atomic<int> threads_in_use = 0;
thread_local int threads_of_scope = 0;

void check_threads(int n) {
  PLEAT_CHECK(n >= 1 && n <= 1024, "threads: got ", n, ", expected 1 to 1024");
}

void set_openmp_threads(int n) {
  omp_set_dynamic(0);
  omp_set_num_threads(n);
}

/// The calling thread as one of those that work `together`.
struct Member {
  const int asked, thread, threads;  // `threads` of `asked` were granted
  std::atomic<int64_t>& arrived;
  int64_t waits = 0;

  /// Returns once all threads have called it as many times.
  void wait() {
    constexpr int kSpins = 1 << 14;  // longer than any part by far; others may need the core
    const int64_t all = ++waits * threads;
    arrived.fetch_add(1, std::memory_order_acq_rel);
    for (int spins = 0; arrived.load(std::memory_order_acquire) < all; ++spins)
      if (spins >= kSpins) std::this_thread::yield();
  }
};

/// None outside of `together`, and within a parallel_for.
thread_local Member* member = nullptr;

/// On the calling thread, and on those that it starts.
void flush_denormals_here() {
#if defined(__x86_64__)
  _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
  _mm_setcsr(_mm_getcsr() | 0x0040);  // denormals are zero
#endif
}

}  // namespace

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return omp_get_num_procs();
  std::set<std::string> cores;  // the first hyper-thread sibling names the core
  int logical = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    ++logical;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (std::getline(file, siblings)) cores.insert(siblings);
  }
  return cores.empty() ? (logical > 0 ? logical : 1) : static_cast<int>(cores.size());
}

int num_threads() {
  if (member != nullptr) return member->asked;
  if (threads_of_scope > 0) return threads_of_scope;
  if (threads_in_use == 0) set_num_threads(physical_cores());
  return threads_in_use;
}

void set_num_threads(int n) {
  check_threads(n);
  threads_in_use = n;
  set_openmp_threads(n);
}

void parallel_for(int64_t n, FunctionRef<int64_t, int64_t, int> body) {
  const int parts = static_cast<int>(std::min<int64_t>(n, num_threads()));
  const auto run = [&](int thread, int threads) {
    for (int part = thread; part < parts; part += threads) {
      const Range range = split(n, part, parts);
      body(range.begin, range.end, part);
    }
  };
  if (Member* const here = member) {
    member = nullptr;
    run(here->thread, here->threads);
    member = here;
    here->wait();
  } else if (parts <= 1) {
    run(0, 1);
  } else {
#pragma omp parallel num_threads(parts)
    run(omp_get_thread_num(), omp_get_num_threads());
  }
}

void together(FunctionRef<int> body) {
  if (member != nullptr) return body(member->thread);
  const int asked = num_threads();
  if (asked == 1) return body(0);
  std::atomic<int64_t> arrived = 0;
#pragma omp parallel num_threads(asked)
  {
    Member here{asked, omp_get_thread_num(), omp_get_num_threads(), arrived};
    member = &here;
    body(here.thread);
    member = nullptr;
  }
}

void flush_denormals() {
#pragma omp parallel num_threads(num_threads())
  flush_denormals_here();
}

ThreadScope::ThreadScope(int n) : outer_(threads_of_scope) {
  check_threads(n);
  PLEAT_CHECK(n == 1 || !omp_in_parallel(), "threads: got ", n,
              " inside an OpenMP parallel region, expected 1 there\nhint: call from outside, or ask for one thread");
  std::fegetenv(&environment_);
  threads_of_scope = n;
  set_openmp_threads(n);
  flush_denormals_here();
}

ThreadScope::~ThreadScope() {
  std::fesetenv(&environment_);
  omp_set_num_threads(threads_);
  omp_set_dynamic(dynamic_);
  threads_of_scope = outer_;
}

}  // namespace pleat
