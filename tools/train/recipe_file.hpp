// Recipes as JSON files, so that an experiment can be repeated by its recipe's name:
//   {"about": "a sentence for people",
//    "train": {"epochs": 40, "lr": 0.2, ...}, "prefold": {...}, "finetune": {...},
//    "distill": {...}}
// Each part holds settings (for_each_setting in tools/train/recipe.hpp) of that kind of training. What a part does not
// mention, and a part that is not there, stays as in the usual recipe.
//
// A recipe's name is its file's without `.json`. Names are looked for in `models/recipes` of the working folder, then
// in `models/recipes` and `share/pleat/recipes` of the program's folder and of every folder above it.
#pragma once

#include <string>
#include <vector>

#include "tools/train/recipe.hpp"

namespace pleat {

/// Names of all recipes that can be found.
std::vector<std::string> recipe_names();

/// Sets what the recipe says about training by `recipe.command`, and `recipe.name`. `name_or_file` is a file if it ends
/// in `.json`. Throws std::runtime_error for a name that is not found, listing those that are, and for a file that
/// cannot be read or holds anything but the above, naming the file, the setting, what it is and what was expected.
void apply_recipe(Recipe& recipe, const std::string& name_or_file);

}  // namespace pleat
