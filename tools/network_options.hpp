// The command-line options that change how a network is built from its name. All commands that accept a name have them.
#pragma once

#include "tools/cli.hpp"
#include "tools/open_model.hpp"

namespace pleat {

/// Declares --width, --classes and --input-size.
void declare_network_options(Cli& cli);

/// Reads these options. Throws UsageError for values out of range.
NetworkOptions network_options(const Cli& cli);

}  // namespace pleat
