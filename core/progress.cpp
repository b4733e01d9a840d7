#include "core/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"

namespace pleat {
namespace {

constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(10);
constexpr auto kLookInterval = std::chrono::seconds(2);
// The machine counts as busy if the threads lack more than this share of the CPU time that they could use, and lose
// their cores more often than this in a second.
constexpr double kLostShare = 0.1, kPreemptions = 20;
constexpr int kBarWidth = 24;
constexpr const char* kEraseLine = "\r\x1b[K";

}  // namespace

Progress::Progress(std::string label, std::string unit, int64_t total, bool quiet)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(std::max<int64_t>(total, 1)),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_),
      looked_(start_),
      use_(cpu_use()) {}

Progress::~Progress() {
  if (drawn_ && terminal_) std::fputs(kEraseLine, stderr);
}

void Progress::update(int64_t done, const std::string& extra) {
  if (quiet_) return;
  const auto now = Clock::now();
  if (now - last_ < (terminal_ ? Clock::duration(kTerminalInterval) : Clock::duration(kPlainInterval))) return;
  last_ = now;
  drawn_ = true;
  if (now - looked_ >= kLookInterval) look_at_cpu(now);

  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done) / seconds;
  const std::string left = rate > 0 ? format_duration(static_cast<double>(total_ - done) / rate) : "?";
  const std::string numbers = concat(done, "/", total_, " ", unit_, "  ", std::llround(rate), " ", unit_, "/s  ", left,
                                     " left", extra.empty() ? "" : "  ", extra, busy_);
  if (!terminal_) {
    std::fprintf(stderr, "%s  %s\n", label_.c_str(), numbers.c_str());
    return;
  }
  const auto filled = static_cast<std::size_t>(std::clamp<int64_t>(done * kBarWidth / total_, 0, kBarWidth));
  const std::string bar = std::string(filled, '=') + std::string(kBarWidth - filled, ' ');
  std::fprintf(stderr, "%s%s [%s] %s", kEraseLine, label_.c_str(), bar.c_str(), numbers.c_str());
}

// Sets what the line says about a busy machine: "2 threads get 1.1 cores". Threads that wait for files compute less,
// too, but they do not lose their cores.
void Progress::look_at_cpu(Clock::time_point now) {
  const CpuUse use = cpu_use();
  const double seconds = std::chrono::duration<double>(now - looked_).count(), threads = num_threads();
  const double cores = (use.seconds - use_.seconds) / seconds;
  const double preemptions = static_cast<double>(use.preemptions - use_.preemptions) / seconds;
  busy_.clear();
  if (cores < (1 - kLostShare) * threads && preemptions > kPreemptions) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", cores);
    busy_ = concat("  machine busy: ", num_threads(), " threads get ", text, " cores");
  }
  use_ = use;
  looked_ = now;
}

std::string format_duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(seconds, 0.0)));
  char text[64];
  if (whole < 60)
    std::snprintf(text, sizeof text, "%lld s", whole);
  else if (whole < 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

}  // namespace pleat
