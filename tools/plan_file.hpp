// The file plan.json, which `pleat plan` writes and `pleat fold --plan` and the plots read. docs/formats.md describes
// it in full.
//   format "pleat plan", format_version 1
//   model, machine, threads, batch, dtype, loss   how the plan was measured
//   graph, alphas, borders, max_kernel            which network it applies to (fold/latency_plan.hpp)
//   base_ms, candidates, points, chosen           the measurements and the result; times of a call in milliseconds
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fold/latency_plan.hpp"

namespace pleat {

/// The fields of the file except for those that say how the plan was measured, which the command adds.
nlohmann::ordered_json to_json(const LatencyPlan& plan);

/// Reads a plan, without its candidates. Throws std::runtime_error `path: reason`.
LatencyPlan read_plan(const std::string& path);

}  // namespace pleat
