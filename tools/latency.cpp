#include "tools/latency.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

#include "core/rng.hpp"

namespace pleat {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Engine prepare(const Model& model, const EngineOptions& options, double& seconds) {
  const Clock::time_point start = Clock::now();
  Engine engine(model, options);
  seconds = seconds_since(start);
  return engine;
}

double peak_rss_mb() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void print_profile(std::ostream& out, const Timed& timed) {
  const double total = std::accumulate(timed.step_seconds.begin(), timed.step_seconds.end(), 0.0);
  const auto calls = static_cast<double>(timed.seconds.size());
  out << '\n'
      << timed.name << ", mean of " << timed.seconds.size() << " calls\n"
      << "        us   share  GFLOP/s  step\n";
  for (std::size_t i = 0; i < timed.step_seconds.size(); ++i) {
    const Engine::Step& step = timed.engine.steps()[i];
    const double seconds = timed.step_seconds[i] / calls;
    out << std::setprecision(1) << std::setw(10) << 1e6 * seconds << std::setw(7) << 100 * timed.step_seconds[i] / total
        << '%' << std::setw(9) << 2e-9 * static_cast<double>(step.macs) / seconds << "  " << step.kind << ' '
        << step.name << " (" << step.kernel << ")\n";
  }
}

}  // namespace

Timed::Timed(std::string name_, const Model& model, const EngineOptions& options)
    : name(std::move(name_)), batch(options.batch), engine(prepare(model, options, load_seconds)) {
  Rng rng(0);
  for (float& pixel : engine.input()) pixel = static_cast<float>(rng.normal());
  step_seconds.assign(engine.steps().size(), 0);
}

void time_calls(std::vector<Timed>& models, int64_t warmup, int64_t runs, bool profile) {
  for (Timed& m : models)
    for (int64_t i = 0; i < warmup; ++i) m.engine.run();
  for (int64_t i = 0; i < runs; ++i)
    for (Timed& m : models) {
      const Clock::time_point start = Clock::now();
      if (profile)
        m.engine.run(m.step_seconds);
      else
        m.engine.run();
      m.seconds.push_back(seconds_since(start));
    }
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + std::llround(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

nlohmann::ordered_json report(const Timed& timed, const Timed& first) {
  const double median = quantile(timed.seconds, 0.5);
  return {{"model", timed.name},
          {"median_ms", 1e3 * median},
          {"p90_ms", 1e3 * quantile(timed.seconds, 0.9)},
          {"p99_ms", 1e3 * quantile(timed.seconds, 0.99)},
          {"min_ms", 1e3 * quantile(timed.seconds, 0)},
          {"images_per_second", static_cast<double>(timed.batch) / median},
          {"load_ms", 1e3 * timed.load_seconds},
          {"peak_rss_mb", peak_rss_mb()},
          {"ratio_to_first", quantile(first.seconds, 0.5) / median}};
}

void print_report(std::ostream& out, const std::vector<Timed>& models, bool profile) {
  out << std::fixed << "median ms       p90       p99       min   images/s    load ms  ratio  model\n";
  for (const Timed& timed : models) {
    const nlohmann::ordered_json r = report(timed, models.front());
    const auto column = [&](const char* field, int width, int digits) {
      out << std::setw(width) << std::setprecision(digits) << r[field].get<double>();
    };
    column("median_ms", 9, 3), column("p90_ms", 10, 3), column("p99_ms", 10, 3), column("min_ms", 10, 3);
    column("images_per_second", 11, 1), column("load_ms", 11, 1), column("ratio_to_first", 7, 2);
    out << "  " << timed.name << '\n';
  }
  if (profile)
    for (const Timed& timed : models) print_profile(out, timed);
}

}  // namespace pleat
