// Latency of the inference engine: several models in turn, so that a machine whose speed drifts treats all alike. Free
// of BLAS: pleat-run uses it too.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/engine/engine.hpp"
#include "tools/measure/machine_peak.hpp"

namespace pleat {

/// A model under its name, and what its calls took.
struct Timed {
  Timed(std::string name_, const Model& model, const EngineOptions& options);

  std::string name;
  EngineOptions options;
  double load_seconds;  ///< Of preparing the engine.
  Engine engine;
  std::vector<double> seconds;       ///< Of each call.
  std::vector<double> step_seconds;  ///< Of each step, summed over the calls; of a profile alone.
  Peak peak = {};                    ///< What this machine can do in that precision; likewise.
};

/// Standard normal input, `warmup` calls of each that do not count, then `runs` rounds of one call each. With `profile`
/// the steps are timed, too, and the machine's peak measured.
void time_calls(std::vector<Timed>& models, int64_t warmup, int64_t runs, bool profile);

/// The q-quantile (0 to 1) of some numbers, the nearest one; 0 for none.
double quantile(std::vector<double> values, double q);

/// `model`, dtype, median_ms, p90_ms, p99_ms, min_ms, images_per_second, load_ms, peak_rss_mb (of the process),
/// ratio_to_first (the first's median over this one's: above 1 is faster); of a profile also peak_gflops, peak_gbytes
/// and for each step its node, kind, kernel, mean ms, GFLOP/s (as if computed directly) and their share of the peak.
nlohmann::ordered_json report(const Timed& timed, const Timed& first);

/// A table of the reports, and of a profile one of each model's steps.
void print_report(std::ostream& out, const std::vector<Timed>& models);

}  // namespace pleat
