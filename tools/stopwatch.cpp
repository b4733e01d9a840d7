#include "tools/stopwatch.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "core/check.hpp"
#include "core/rng.hpp"
#include "fold/engine.hpp"
#include "tools/engine_options.hpp"
#include "tools/latency.hpp"
#include "tools/progress.hpp"

namespace pleat {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCalls = 3, kLeastRounds = 5;
constexpr std::size_t kBetween = 8;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The fastest call of a visit.
double visit(Engine& engine) {
  engine.run();
  double fastest = std::numeric_limits<double>::infinity();
  for (int call = 0; call < kCalls; ++call) {
    const Clock::time_point start = Clock::now();
    engine.run();
    fastest = std::min(fastest, seconds_since(start));
  }
  return fastest;
}

// What was measured so far. engines[0] only tells how fast the machine is at the time.
class Rounds {
 public:
  explicit Rounds(std::vector<Engine>& engines) : engines_(engines), ratios_(engines.size()) {}

  void run(uint64_t round) {
    const std::vector<uint32_t> order = permutation(static_cast<uint32_t>(engines_.size() - 1), Rng(round));
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i % kBetween == 0) speed_.push_back(visit(engines_[0]));
      const std::size_t engine = order[i] + 1;
      ratios_[engine].push_back(visit(engines_[engine]) / speed_.back());
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
  std::vector<double> speed_;                // seconds of engines[0]'s visits
  std::vector<std::vector<double>> ratios_;  // of the others' visits to its last
};

std::vector<double> time_networks(int count, const std::function<Model(int)>& network, const EngineOptions& options,
                                  double budget, bool quiet) {
  std::vector<Engine> engines;
  {
    Progress progress("prepare", "networks", count, quiet);
    for (int i = -1; i < count; ++i) {
      engines.emplace_back(network(std::max(i, 0)), options);
      Rng rng(0);
      for (float& pixel : engines.back().input()) pixel = static_cast<float>(rng.normal());
      progress.update(i + 1);
    }
  }
  Rounds rounds(engines);
  Progress progress("time", "s", std::llround(budget), quiet);
  const Clock::time_point start = Clock::now();
  for (int round = 0; round < kLeastRounds || seconds_since(start) < budget; ++round) {
    rounds.run(round);
    progress.update(std::llround(seconds_since(start)), concat(round + 1, " rounds of ", count, " networks"));
  }
  return rounds.seconds();
}

}  // namespace

void declare_stopwatch(Cli& cli, const char* seconds) {
  cli.accept_bf16();
  declare_engine_tune(cli);
  cli.option("batch", "N", "pictures a call when latency is measured", "1");
  cli.option("seconds", "X", "about so long is latency measured", seconds);
}

Stopwatch make_stopwatch(const Cli& cli) {
  return [options = engine_options(cli, cli.integer("batch", 1, 1 << 16)), budget = cli.number("seconds", 0, 1e6),
          quiet = cli.quiet()](int count, const std::function<Model(int)>& network) {
    return time_networks(count, network, options, budget, quiet);
  };
}

}  // namespace pleat
