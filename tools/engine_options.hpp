// The command-line options of commands that run the inference engine.
#pragma once

#include "fold/engine/engine.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// Declares --tune for a command that does not train.
void declare_engine_tune(Cli& cli);

/// The engine's options for this batch size, from --dtype and --tune. Throws UsageError unless --tune is auto or off.
EngineOptions engine_options(const Cli& cli, int64_t batch);

/// The same, one for each precision in the list of --dtype.
std::vector<EngineOptions> engine_options_each(const Cli& cli, int64_t batch);

}  // namespace pleat
