// How a network came to be, as commands: from the notes in its file, or from the settings in a curve.json.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/report/json_file.hpp"

namespace pleat {

/// The word as a shell reads it, quoted if need be.
std::string shell_word(const std::string& word);

/// The command of a training run with this recipe (tools/train/recipe.hpp), every setting that is not the usual one as
/// an option. `recipe` is the JSON that model files repeat.
std::string training_command(const Json& recipe);

/// The commands that made the model, as far as its notes tell: the import or the last training, and folding. Notes do
/// not tell which of the two was first.
std::vector<std::string> commands_of(const Model& model);

/// Everything in the recipes, a row for each setting and a column for each recipe, as HTML.
std::string settings_table(const std::vector<Json>& recipes);

}  // namespace pleat
