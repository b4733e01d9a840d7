// The options that say how a network called by name is made; all commands that take such a name share them.
#pragma once

#include "tools/cli.hpp"
#include "tools/open_model.hpp"

namespace pleat {

/// --width, --classes and --input-size, for commands that take a network's name.
void declare_network_options(Cli& cli);

/// Reads them. Throws UsageError for values out of range.
NetworkOptions network_options(const Cli& cli);

}  // namespace pleat
