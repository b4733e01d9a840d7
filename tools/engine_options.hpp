// The options of commands that run the inference engine.
#pragma once

#include "fold/engine/engine.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// Declares --tune for a command that does not train.
void declare_engine_tune(Cli& cli);

/// From --dtype and --tune. Throws UsageError for another --tune than auto and off.
EngineOptions engine_options(const Cli& cli, int64_t batch);

/// The same for each of several precisions.
std::vector<EngineOptions> engine_options_each(const Cli& cli, int64_t batch);

}  // namespace pleat
