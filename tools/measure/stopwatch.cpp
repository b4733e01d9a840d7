#include "tools/measure/stopwatch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/progress.hpp"
#include "core/rng.hpp"
#include "fold/engine/engine.hpp"
#include "tools/engine_options.hpp"
#include "tools/measure/engine_latency.hpp"

namespace pleat {
namespace {

constexpr int kCallsOfVisit = 3, kMinRounds = 5;
constexpr std::size_t kVisitsPerReference = 8;
// Results are differences from the first network, so an error in its time would affect all of them.
constexpr int kEnginesOfFirst = 8;

// Visits an engine and returns the seconds of its fastest call.
double visit(Engine& engine) {
  engine.run();
  double fastest = std::numeric_limits<double>::infinity();
  for (int call = 0; call < kCallsOfVisit; ++call) {
    const Clock::time_point start = Clock::now();
    engine.run();
    fastest = std::min(fastest, seconds_since(start));
  }
  return fastest;
}

// The engines of all networks, and what was measured so far.
class Rounds {
 public:
  Rounds(int count, const std::function<Model(int)>& network, const EngineOptions& options, bool quiet)
      : ratios_(count) {
    Progress progress("prepare", "networks", count, quiet);
    for (int i = 0; i < count; ++i) {
      const Model model = network(i);
      for (int copy = 0; copy < (i == 0 ? 1 + kEnginesOfFirst : 1); ++copy) {
        engines_.emplace_back(model, options);
        network_.push_back(i);
        Rng rng(0);
        for (float& pixel : engines_.back().input()) pixel = static_cast<float>(rng.normal());
      }
      progress.update(i + 1);
    }
  }

  void run(uint64_t round) {
    const std::vector<uint32_t> order = permutation(static_cast<uint32_t>(engines_.size() - 1), Rng(round));
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i % kVisitsPerReference == 0) reference_.push_back(visit(engines_[0]));
      const std::size_t engine = order[i] + 1;
      ratios_[network_[engine]].push_back(visit(engines_[engine]) / reference_.back());
    }
  }

  std::vector<double> seconds() const {
    const double usual = quantile(reference_, 0.5);
    std::vector<double> result;
    for (const std::vector<double>& ratios : ratios_) result.push_back(usual * quantile(ratios, 0.5));
    return result;
  }

 private:
  std::vector<Engine> engines_;              // the first is the reference
  std::vector<int> network_;                 // by engine: the index of its network
  std::vector<double> reference_;            // seconds of the reference's visits
  std::vector<std::vector<double>> ratios_;  // by network: times of visits, divided by the reference's last
};

std::vector<double> time_networks(int count, const std::function<Model(int)>& network, const EngineOptions& options,
                                  double budget, bool quiet) {
  Rounds rounds(count, network, options, quiet);
  Progress progress("time", "s", std::llround(budget), quiet);
  const Clock::time_point start = Clock::now();
  for (int round = 0; round < kMinRounds || seconds_since(start) < budget; ++round) {
    rounds.run(round);
    progress.update(std::llround(seconds_since(start)), concat(round + 1, " rounds of ", count, " networks"));
  }
  return rounds.seconds();
}

}  // namespace

void declare_stopwatch(Cli& cli, const char* seconds) {
  cli.accept_bf16();
  declare_engine_tune(cli);
  cli.option("batch", "N", "pictures per call when latency is measured", "1");
  cli.option("seconds", "X", "about how many seconds to measure latency", seconds);
}

Stopwatch make_stopwatch(const Cli& cli) {
  return [options = engine_options(cli, cli.integer("batch", 1, 1 << 16)), budget = cli.number("seconds", 0, 1e6),
          quiet = cli.quiet()](int count, const std::function<Model(int)>& network) {
    return time_networks(count, network, options, budget, quiet);
  };
}

}  // namespace pleat
