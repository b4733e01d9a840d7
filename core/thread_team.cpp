#include "core/thread_team.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <csignal>
#include <stdexcept>
#include <system_error>

#include "core/check.hpp"
#include "core/clock.hpp"

namespace pleat {
namespace {

// A region's number: in its upper bits a counter that no process lives long enough to exhaust, in its lower bits the
// number of parts.
constexpr int kPartBits = 11;
constexpr int parts_of(uint64_t region) {
  return static_cast<int>(region & ((1 << kPartBits) - 1));
}
constexpr uint64_t number_after(uint64_t region, int parts) {
  return ((region >> kPartBits) + 1) << kPartBits | static_cast<uint64_t>(parts);
}

// Sleeps until woken, unless `word` differs from `expected`; may also return for no reason.
void sleep_on(std::atomic<uint32_t>& word, uint32_t expected) {
  static_assert(sizeof word == sizeof(uint32_t));
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void wake_all_on(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::chrono::nanoseconds cpu_time(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

clockid_t clock_of(pthread_t thread) {
  clockid_t clock{};
  pthread_getcpuclockid(thread, &clock);
  return clock;
}

// Spins until ready(), and returns true. Gives up and returns false when the thread that must make it ready is seen not
// to run, or when `longest` has passed. partner() gives the CPU clock of that thread.
template <class Ready, class Partner>
bool spin_until(const Ready& ready, const Partner& partner, Clock::duration longest) {
  constexpr auto kLook = std::chrono::microseconds(12);  // a look costs a system call of half a microsecond
  constexpr int kPauses = 32;                            // between looks at the time
  const auto start = Clock::now();
  auto last_look = start;
  clockid_t watched{};
  std::chrono::nanoseconds watched_ran{};
  bool watching = false;
  for (;;) {
    for (int i = 0; i < kPauses; ++i) {
      if (ready()) return true;
      pause_briefly();
    }
    const auto now = Clock::now();
    const auto passed = now - last_look;
    if (passed < kLook) continue;
    if (now - start > longest) return false;
    const clockid_t clock = partner();
    const std::chrono::nanoseconds ran = cpu_time(clock);
    if (watching && clock == watched && ran - watched_ran < passed / 2) return false;
    watching = true;
    watched = clock;
    watched_ran = ran;
    last_look = now;
  }
}

}  // namespace

ThreadTeam::ThreadTeam(int threads, void (*prepare)(int thread))
    : threads_(threads), claims_(new Claim[threads]), workers_(new Worker[threads]) {
  workers_[0].cpu_clock = clock_of(pthread_self());
  // Signals are the caller's: its handlers run on its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int thread = 1;
  try {
    for (; thread < threads; ++thread) {
      workers_[thread].thread = std::thread([this, prepare, thread] {
        prepare(thread);
        ++prepared_;
        wake_all_on(prepared_);
        work(thread);
      });
      workers_[thread].cpu_clock = clock_of(workers_[thread].thread.native_handle());
    }
  } catch (const std::system_error& error) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    stop();
    throw std::runtime_error(concat("threads: could not start thread ", thread + 1, " of ", threads, ": ",
                                    error.code().message(), "\nhint: ask for fewer threads, or raise `ulimit -u`"));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  const auto workers = static_cast<uint32_t>(threads - 1);
  for (uint32_t ready = prepared_; ready < workers; ready = prepared_) sleep_on(prepared_, ready);
}

ThreadTeam::~ThreadTeam() {
  stop();
}

void ThreadTeam::stop() {
  stops_ = true;
  ring();
  for (int thread = 1; thread < threads_; ++thread)
    if (workers_[thread].thread.joinable()) workers_[thread].thread.join();
}

// Wakes the workers that sleep. Those that are about to fall asleep see that the bell has changed, and stay awake.
void ThreadTeam::ring() {
  ++bell_;
  if (workers_sleep_ && workers_sleep_.exchange(false)) wake_all_on(bell_);
}

void ThreadTeam::run(int parts, FunctionRef<int> body) {
  open_.body = &body;
  unfinished_.store(static_cast<uint32_t>(parts), std::memory_order_relaxed);
  const uint64_t region = number_after(open_.number.load(std::memory_order_relaxed), parts);
  open_.number.store(region, std::memory_order_release);
  ring();
  run_parts(region, 0);
  wait_for_parts();
}

void ThreadTeam::run_parts(uint64_t region, int thread) {
  const int parts = parts_of(region);
  for (int next = 0; next < parts; ++next) {
    const int part = (thread + next) % parts;  // its own, then those of others
    std::atomic<uint64_t>& claimed = claims_[part].region;
    uint64_t last = claimed.load(std::memory_order_relaxed);
    while (last < region && !claimed.compare_exchange_weak(last, region)) {
    }
    if (last >= region) continue;
    std::atomic<bool>& is_in_part = workers_[thread].is_in_part;
    is_in_part.store(true, std::memory_order_relaxed);
    (*open_.body)(part);
    is_in_part.store(false, std::memory_order_relaxed);
    if (--unfinished_ == 0 && caller_sleeps_) wake_all_on(unfinished_);
  }
}

void ThreadTeam::work(int thread) {
  for (uint64_t region = 0;;) {
    region = wait_for_region_after(region);
    if (stops_) return;
    if (thread < parts_of(region)) run_parts(region, thread);
  }
}

uint64_t ThreadTeam::wait_for_region_after(uint64_t last) {
  constexpr auto kLongest = std::chrono::microseconds(500);  // the caller computes by itself
  const auto changed = [&] { return open_.number.load(std::memory_order_acquire) != last; };
  while (!spin_until(
      changed, [&] { return workers_[0].cpu_clock; }, kLongest)) {
    const uint32_t rings = bell_;
    workers_sleep_ = true;
    if (!changed() && !stops_) sleep_on(bell_, rings);
    if (stops_) break;
  }
  return open_.number.load(std::memory_order_acquire);
}

void ThreadTeam::wait_for_parts() {
  constexpr auto kLongest = std::chrono::milliseconds(2);
  const auto done = [&] { return unfinished_.load(std::memory_order_acquire) == 0; };
  const auto holder = [&] {
    int thread = 1;
    while (thread + 1 < threads_ && !workers_[thread].is_in_part.load(std::memory_order_relaxed)) ++thread;
    return workers_[thread].cpu_clock;
  };
  if (done() || spin_until(done, holder, kLongest)) return;
  caller_sleeps_ = true;
  for (uint32_t left = unfinished_; left != 0; left = unfinished_) sleep_on(unfinished_, left);
  caller_sleeps_ = false;
}

}  // namespace pleat
