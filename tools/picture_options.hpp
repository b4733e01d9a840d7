// The options that say how picture files become a network's input, and labels; commands that look at pictures share
// them. Free of BLAS: pleat-run has them too.
#pragma once

#include <string>

#include "core/model.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// --crop, --resize and --interpolation, which change what the model file says.
void declare_view_options(Cli& cli);

/// Puts them, where given, into the model. Throws UsageError.
void set_view(const Cli& cli, Model& model);

/// --class-list and --broken, for commands with --data.
void declare_folder_options(Cli& cli);

/// --broken skip.
bool skips_broken(const Cli& cli);

/// --class-list, or nothing.
std::string class_list_option(const Cli& cli);

}  // namespace pleat
