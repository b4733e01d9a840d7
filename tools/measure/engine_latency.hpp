// Measures the latency of the inference engine. Several models are called in turn, so that a machine whose speed drifts
// affects all of them equally. This code is also part of pleat-run, so it must not need BLAS.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/engine/engine.hpp"
#include "tools/measure/machine_peak.hpp"

namespace pleat {

/// A model with a name, and the times of its calls.
struct Timed {
  Timed(std::string name_, const Model& model, const EngineOptions& options);

  std::string name;
  EngineOptions options;
  double load_seconds;  ///< Time to prepare the engine.
  Engine engine;
  std::vector<double> seconds;       ///< The time of each call.
  std::vector<double> step_seconds;  ///< With a profile: the time of each step, summed over the calls.
  Peak peak = {};                    ///< With a profile: the peak speed of this machine in that precision.
};

/// Calls each model `warmup` times without measuring, then measures `runs` rounds with one call of each model.
/// Constructing Timed has filled the inputs with standard normal numbers. With `profile`, the steps of each call and
/// the machine's peak are measured as well.
void time_calls(std::vector<Timed>& models, int64_t warmup, int64_t runs, bool profile);

/// The q-quantile of the values for q from 0 to 1: the value with the nearest rank. 0 if there are no values.
double quantile(std::vector<double> values, double q);

/// A JSON object with the fields model, dtype, median_ms, p90_ms, p99_ms, min_ms, images_per_second, load_ms,
/// peak_rss_mb (of the process) and ratio_to_first (the median of `first` divided by this one's; above 1 means faster).
/// With a profile also peak_gflops, peak_gbytes, limit_ms and for each step its node, kind, kernel, mean ms, GFLOP/s
/// (counting the operations of the direct computation) and share of the peak.
nlohmann::ordered_json report(const Timed& timed, const Timed& first);

/// Prints the reports as a table, and for each model with a profile a table of its steps.
void print_report(std::ostream& out, const std::vector<Timed>& models);

}  // namespace pleat
