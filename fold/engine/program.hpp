// A network made ready to run: steps, and where their values lie in one arena (private to the engine). Instances of the
// engine share it.
#pragma once

#include <cstddef>
#include <vector>

#include "core/model.hpp"
#include "fold/engine/engine.hpp"
#include "fold/engine/steps.hpp"

namespace pleat {

struct Program {
  int threads = 0;
  EngineNetwork network;  ///< Without tensors.
  std::vector<EngineStep> steps;
  std::vector<int64_t> offsets;    ///< By node, in bytes from the arena's begin; -1: never in memory.
  int64_t arena = 0, scratch = 0;  ///< Bytes.
};

/// Throws as Engine's constructor.
Program make_program(const Model& model, const EngineOptions& options);

}  // namespace pleat
