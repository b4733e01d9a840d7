#include "tools/stopwatch.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "core/rng.hpp"
#include "fold/engine.hpp"
#include "tools/latency.hpp"
#include "tools/progress.hpp"

namespace pleat {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCalls = 2, kLeastRounds = 3;
constexpr std::size_t kBetween = 8;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One visit; the seconds of its calls are appended.
void visit(Engine& engine, std::vector<double>& seconds) {
  engine.run();
  for (int call = 0; call < kCalls; ++call) {
    const Clock::time_point start = Clock::now();
    engine.run();
    seconds.push_back(seconds_since(start));
  }
}

// What was measured so far. engines[0] only tells how fast the machine is at the time.
class Rounds {
 public:
  explicit Rounds(std::vector<Engine>& engines) : engines_(engines), ratios_(engines.size()) {}

  void run(uint64_t round) {
    const std::vector<uint32_t> order = permutation(static_cast<uint32_t>(engines_.size() - 1), Rng(round));
    double now = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i % kBetween == 0) {
        visit(engines_[0], speed_);
        now = std::accumulate(speed_.end() - kCalls, speed_.end(), 0.0) / kCalls;
      }
      const std::size_t engine = order[i] + 1;
      std::vector<double> seconds;
      visit(engines_[engine], seconds);
      for (const double s : seconds) ratios_[engine].push_back(s / now);
    }
  }

  std::vector<double> seconds() const {
    const double usual = quantile(speed_, 0.5);
    std::vector<double> result;
    for (std::size_t i = 1; i < ratios_.size(); ++i) result.push_back(usual * quantile(ratios_[i], 0.5));
    return result;
  }

 private:
  std::vector<Engine>& engines_;
  std::vector<double> speed_;                // seconds of engines[0]'s calls
  std::vector<std::vector<double>> ratios_;  // of the others' calls to its last
};

std::vector<double> time_networks(const Cli& cli, int count, const std::function<Model(int)>& network) {
  const int64_t batch = cli.integer("batch", 1, 1 << 16);
  const double budget = cli.number("seconds", 0, 1e6);
  std::vector<Engine> engines;
  {
    Progress progress("prepare", "networks", count, cli.quiet());
    for (int i = -1; i < count; ++i) {
      engines.emplace_back(network(std::max(i, 0)), batch);
      Rng rng(0);
      for (float& pixel : engines.back().input()) pixel = static_cast<float>(rng.normal());
      progress.update(i + 1);
    }
  }
  Rounds rounds(engines);
  const Clock::time_point start = Clock::now();
  rounds.run(0);
  const auto total = std::max<int64_t>(kLeastRounds, std::llround(budget / seconds_since(start)));
  Progress progress("time", "rounds", total, cli.quiet());
  for (int64_t round = 1; round < total; ++round) {
    progress.update(round);
    rounds.run(round);
  }
  return rounds.seconds();
}

}  // namespace

void declare_stopwatch(Cli& cli, const char* seconds) {
  cli.option("batch", "N", "pictures a call when latency is measured", "1");
  cli.option("seconds", "X", "about so long is latency measured", seconds);
}

Stopwatch make_stopwatch(const Cli& cli) {
  return [&cli](int count, const std::function<Model(int)>& network) { return time_networks(cli, count, network); };
}

}  // namespace pleat
