// Chooses the algorithms of training's convolutions by timing them on this machine, pass by pass.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/graph.hpp"
#include "ops/exec/exec.hpp"

namespace pleat {

/// `done` of `total` convolutions are chosen.
using TuneProgress = std::function<void(int64_t done, int64_t total)>;

/// The fastest algorithms as letters for ExecOptions::algorithms, for training `graph` with `options`. What was timed
/// once is remembered (ops/conv/tune_cache.hpp). An empty text for native kernels, which have no choice. `report` may
/// be empty.
std::string tune_training(const Graph& graph, const ExecOptions& options, const TuneProgress& report);

/// The same by rule, without timing, or as `letters` say, which a recipe holds. Throws std::invalid_argument for
/// letters that do not fit the graph's convolutions.
std::string training_algorithms(const Graph& graph, const ExecOptions& options, const std::string& letters = {});

}  // namespace pleat
