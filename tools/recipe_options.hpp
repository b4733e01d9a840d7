// The options of `pleat train`, `prefold`, `finetune` and `distill`, which make a recipe (tools/train/recipe.hpp).
#pragma once

#include <string>

#include "core/graph.hpp"
#include "tools/cli.hpp"
#include "tools/train/recipe.hpp"
#include "tools/train/run_folder.hpp"

namespace pleat {

/// Declares the options of `command`. Their defaults are those of the recipe that --recipe names, or else the command's
/// usual recipe.
void declare_recipe(Cli& cli, const std::string& command);

/// Reads them into a recipe; its `algorithms` are left empty. Throws UsageError for values out of range,
/// and for the recipe's file as apply_recipe does.
Recipe read_recipe(const Cli& cli, const std::string& command);

/// What --resume and --force allow to be done with the folder of --out. Throws UsageError if both were given.
RunFolderOptions run_folder_options(const Cli& cli);

/// The algorithms to train `graph` with: as --tune says (tools/tune.hpp); but with --tune auto a run that is resumed
/// goes on with those that it began with, whatever would be fastest today. Throws as tune and saved_algorithms do.
std::string run_algorithms(const Cli& cli, const Graph& graph, const Recipe& recipe);

}  // namespace pleat
