#include "core/parallel.hpp"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "core/check.hpp"
#include "core/cores.hpp"
#include "core/onednn.hpp"
#include "core/thread_team.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pleat {
namespace {

std::atomic<int> threads_of_process = 0;
std::atomic<bool> pinned = false;

// The calling thread's own count, or 0: that of its ThreadScope, or of the region whose part it runs.
thread_local int threads_of_scope = 0;
thread_local bool in_part = false;

void check_threads(int n) {
  PLEAT_CHECK(n >= 1 && n <= 1024, "threads: got ", n, ", expected 1 to 1024");
}

void pin(int thread) {
  static const std::vector<int> cores = allowed_cores();  // before any thread was pinned
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cores[static_cast<std::size_t>(thread) % cores.size()], &one);
  pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

void prepare_worker(int thread) {
  prepare_thread();
  onednn::stream();  // allocates memory at its first call, which later parts must not
  if (pinned) pin(thread);
}

// Counts the forks between the first process and this one. A child has the memory of its parent's teams without their
// threads, and must start threads of its own.
std::atomic<int> forks = 0;
void count_forks() {
  [[maybe_unused]] static const int once = pthread_atfork(nullptr, nullptr, [] { ++forks; });
}

// The calling thread's team, if it has needed one.
class OwnTeam {
 public:
  ~OwnTeam() { leave_if_lost(); }

  ThreadTeam& of(int threads) {
    leave_if_lost();
    if (!team_ || team_->threads() < threads) {
      count_forks();
      team_.reset();
      team_ = std::make_unique<ThreadTeam>(threads, prepare_worker);
      forks_ = forks;
    }
    return *team_;
  }

 private:
  // In a child of fork() the team's threads do not exist, so they cannot be waited for, and the team's destructor must
  // not run.
  void leave_if_lost() {
    if (team_ && forks_ != forks) [[maybe_unused]]
      ThreadTeam* const lost = team_.release();
  }

  std::unique_ptr<ThreadTeam> team_;
  int forks_ = 0;
};
thread_local OwnTeam own_team;

// While a thread runs a part.
class InPart {
 public:
  explicit InPart(int threads) : outer_(threads_of_scope), was_in_part_(in_part) {
    threads_of_scope = threads;
    in_part = true;
  }
  ~InPart() {
    threads_of_scope = outer_;
    in_part = was_in_part_;
  }
  InPart(const InPart&) = delete;
  InPart& operator=(const InPart&) = delete;

 private:
  int outer_;
  bool was_in_part_;
};

}  // namespace

int num_threads() {
  if (threads_of_scope > 0) return threads_of_scope;
  if (threads_of_process == 0) set_num_threads(default_threads());
  return threads_of_process;
}

void set_num_threads(int n) {
  check_threads(n);
  threads_of_process = n;
}

void pin_threads() {
  const std::vector<int> cores = allowed_cores();
  PLEAT_CHECK(std::ssize(cores) >= num_threads(), "pin: ", num_threads(), " threads, but this process may use ",
              cores.size(), " cores\nhint: ask for fewer threads");
  pin(0);
  pinned = true;
}

void prepare_thread() {
#if defined(__x86_64__)
  _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
  _mm_setcsr(_mm_getcsr() | 0x0040);  // denormals are zero
#endif
  omp_set_num_threads(1);
}

void parallel_for(int64_t n, FunctionRef<int64_t, int64_t, int> body) {
  const int threads = num_threads(), parts = static_cast<int>(std::min<int64_t>(n, threads));
  const auto run = [&](int part) {
    const Range range = split(n, part, parts);
    body(range.begin, range.end, part);
  };
  if (parts <= 1 || in_part) {
    for (int part = 0; part < parts; ++part) run(part);
    return;
  }
  own_team.of(parts).run(parts, [&](int part) {
    const InPart here(threads);
    run(part);
  });
}

ThreadScope::ThreadScope(int n) : outer_(threads_of_scope), openmp_threads_(omp_get_max_threads()) {
  check_threads(n);
  std::fegetenv(&environment_);
  threads_of_scope = n;
  prepare_thread();
}

ThreadScope::~ThreadScope() {
  std::fesetenv(&environment_);
  omp_set_num_threads(openmp_threads_);
  threads_of_scope = outer_;
}

}  // namespace pleat
