// plan.json: what `pleat plan` found, for `pleat fold --plan` and for plots.
//   format "pleat plan", format_version 1
//   model, machine, threads, batch, dtype, loss   how it was measured
//   graph, alphas, borders, max_kernel            what it is for (fold/latency_plan.hpp)
//   base_ms, candidates, points, chosen           what was found; times of a call in milliseconds
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fold/latency_plan.hpp"

namespace pleat {

/// The part that is not about how it was measured, and prediction_error.
nlohmann::ordered_json to_json(const LatencyPlan& plan);

/// Reads all of it but the candidates. Throws std::runtime_error `path: reason`.
LatencyPlan read_plan(const std::string& path);

}  // namespace pleat
