#include "tools/measure/engine_latency.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

#include "core/clock.hpp"
#include "core/machine.hpp"
#include "core/rng.hpp"
#include "tools/cli.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

Engine prepare(const Model& model, const EngineOptions& options, double& seconds) {
  const Clock::time_point start = Clock::now();
  Engine engine(model, options);
  seconds = seconds_since(start);
  return engine;
}

Json profile(const Timed& timed) {
  Json steps = Json::array();
  double limit = 0;  // seconds
  for (std::size_t i = 0; i < timed.step_seconds.size(); ++i) {
    const Engine::StepInfo& step = timed.engine.steps()[i];
    const double seconds = timed.step_seconds[i] / static_cast<double>(timed.seconds.size());
    const double gflop = 2e-9 * static_cast<double>(step.macs), gflops = gflop / seconds;
    limit += gflop / timed.peak.gflops;
    steps.push_back({{"name", step.name},
                     {"kind", step.kind},
                     {"kernel", step.kernel},
                     {"ms", 1e3 * seconds},
                     {"gflops", gflops},
                     {"share_of_peak_flops", gflops / timed.peak.gflops}});
  }
  return {{"peak_gflops", timed.peak.gflops},
          {"peak_gbytes", timed.peak.gbytes},
          {"limit_ms", 1e3 * limit},
          {"steps", steps}};
}

void print_profile(std::ostream& out, const Timed& timed) {
  const double total = std::accumulate(timed.step_seconds.begin(), timed.step_seconds.end(), 0.0);
  out << '\n'
      << timed.name << ", " << to_string(timed.options.dtype) << ", mean of " << timed.seconds.size() << " calls; "
      << timed.peak << '\n';
  const Json profiled = profile(timed);
  const double limit = profiled["limit_ms"].get<double>();
  out << "computed directly at that peak: " << std::setprecision(3) << limit << " ms, " << std::setprecision(0)
      << 0.1 * limit / quantile(timed.seconds, 0.5) << "% of the median\n"
      << "        us   share  GFLOP/s   peak  step\n";
  for (const Json& step : profiled["steps"]) {
    const double seconds = 1e-3 * step["ms"].get<double>() * static_cast<double>(timed.seconds.size());
    out << std::setprecision(1) << std::setw(10) << 1e3 * step["ms"].get<double>() << std::setw(7)
        << 100 * seconds / total << '%' << std::setw(9) << step["gflops"].get<double>() << std::setw(6)
        << std::setprecision(0) << 100 * step["share_of_peak_flops"].get<double>() << "%  "
        << step["kind"].get<std::string>() << ' ' << step["name"].get<std::string>() << " ("
        << step["kernel"].get<std::string>() << ")\n";
  }
}

}  // namespace

Timed::Timed(std::string name_, const Model& model, const EngineOptions& options_)
    : name(std::move(name_)), options(options_), engine(prepare(model, options_, load_seconds)) {
  Rng rng(0);
  for (float& pixel : engine.input()) pixel = static_cast<float>(rng.normal());
}

void time_calls(std::vector<Timed>& models, int64_t warmup, int64_t runs, bool profile) {
  if (profile)
    for (Timed& m : models) {
      m.step_seconds.assign(m.engine.steps().size(), 0);
      m.peak = measure_peak(m.options.dtype);
    }
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

Json report(const Timed& timed, const Timed& first) {
  const double median = quantile(timed.seconds, 0.5);
  Json fields = {{"model", timed.name},
                 {"dtype", to_string(timed.options.dtype)},
                 {"median_ms", 1e3 * median},
                 {"p90_ms", 1e3 * quantile(timed.seconds, 0.9)},
                 {"p99_ms", 1e3 * quantile(timed.seconds, 0.99)},
                 {"min_ms", 1e3 * quantile(timed.seconds, 0)},
                 {"images_per_second", static_cast<double>(timed.options.batch) / median},
                 {"load_ms", 1e3 * timed.load_seconds},
                 {"peak_rss_mb", peak_memory() / (1 << 20)},
                 {"ratio_to_first", quantile(first.seconds, 0.5) / median}};
  if (!timed.step_seconds.empty()) fields.update(profile(timed));
  return fields;
}

void print_report(std::ostream& out, const std::vector<Timed>& models) {
  out << std::fixed << "median ms       p90       p99       min   images/s    load ms  ratio  dtype  model\n";
  for (const Timed& timed : models) {
    const Json r = report(timed, models.front());
    const auto column = [&](const char* field, int width, int digits) {
      out << std::setw(width) << std::setprecision(digits) << r[field].get<double>();
    };
    column("median_ms", 9, 3), column("p90_ms", 10, 3), column("p99_ms", 10, 3), column("min_ms", 10, 3);
    column("images_per_second", 11, 1), column("load_ms", 11, 1), column("ratio_to_first", 7, 2);
    out << std::setw(7) << r["dtype"].get<std::string>() << "  " << timed.name << '\n';
  }
  out << "peak memory of the process " << std::setprecision(1) << peak_memory() / (1 << 20) << " MB\n";
  for (const Timed& timed : models)
    if (!timed.step_seconds.empty()) print_profile(out, timed);
}

}  // namespace pleat
