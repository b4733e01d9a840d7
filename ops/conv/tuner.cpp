#include "ops/conv/tuner.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/clock.hpp"
#include "core/parallel.hpp"

namespace pleat {
namespace {

constexpr double kNear = 1.15;                 // of the fastest's time: so near are finalists
constexpr int kRounds = 5;                     // of the finalists
constexpr int kLeastRuns = 3, kMostRuns = 40;  // of a candidate in one round,
constexpr double kMostSeconds = 0.005;         // with no new one begun after so long

struct Finalist {
  std::size_t candidate;
  TimedRun run;
  std::vector<double> seconds;  // of each round
};

// The fastest of several runs.
double time(const TimedRun& run, const TuneProtocol& protocol) {
  double least = std::numeric_limits<double>::infinity();
  const Clock::time_point begin = Clock::now();
  for (int runs = 0; runs < kLeastRuns || (runs < kMostRuns && seconds_since(begin) < kMostSeconds); ++runs) {
    if (protocol.before_run) protocol.before_run();
    least = std::min(least, run());
  }
  return least;
}

}  // namespace

std::size_t find_fastest(const std::vector<TuneCandidate>& candidates, const TuneProtocol& protocol) {
  std::vector<Finalist> finalists;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    TimedRun run = candidates[i].prepare();
    const double seconds = time(run, protocol);
    least = std::min(least, seconds);
    if (seconds < kNear * least) finalists.push_back({i, std::move(run), {seconds}});
  }
  std::erase_if(finalists, [&](const Finalist& f) { return f.seconds.front() >= kNear * least; });
  if (finalists.size() == 1) return finalists.front().candidate;
  for (int round = 0; round < kRounds; ++round)
    for (Finalist& f : finalists) f.seconds.push_back(time(f.run, protocol));
  const auto median = [](Finalist& f) {
    std::ranges::nth_element(f.seconds, f.seconds.begin() + kRounds / 2);
    return f.seconds[kRounds / 2];
  };
  std::size_t best = finalists.front().candidate;
  double best_seconds = median(finalists.front());
  for (Finalist& f : finalists)
    if (const double seconds = median(f); seconds < protocol.worth_it * best_seconds)
      best = f.candidate, best_seconds = seconds;
  return best;
}

std::size_t Tuner::choose(const std::string& task, const std::vector<TuneCandidate>& candidates,
                          const TuneProtocol& protocol) {
  const std::string known = cache_.find(task);
  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (candidates[i].name == known) return i;
  const std::size_t best = find_fastest(candidates, protocol);
  cache_.remember(task, candidates[best].name);
  return best;
}

void bring_to_caches(std::span<const std::byte> memory) {
  constexpr int64_t kLine = 64;  // bytes of a cache line
  const auto* bytes = reinterpret_cast<const volatile unsigned char*>(memory.data());
  parallel_for(static_cast<int64_t>(memory.size()) / kLine, [&](int64_t begin, int64_t end, int) {
    for (int64_t line = begin; line < end; ++line) static_cast<void>(bytes[line * kLine]);
  });
}

}  // namespace pleat
