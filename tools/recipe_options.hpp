// The options of `pleat train`, `prefold` and `finetune`, which make a recipe (tools/train/recipe.hpp).
#pragma once

#include <string>

#include "tools/cli.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

/// Declares the options of `command`. Their defaults are those of the recipe that --recipe names, or else the command's
/// usual recipe.
void declare_recipe(Cli& cli, const std::string& command);

/// Reads them into a recipe; its `algorithms` are left empty. Throws UsageError for values out of range,
/// and for the recipe's file as apply_recipe does.
Recipe read_recipe(const Cli& cli, const std::string& command);

}  // namespace pleat
