// What a mistyped name was probably meant to be, for error messages.
#pragma once

#include <string>
#include <vector>

namespace pleat {

/// ", did you mean 'conv2d'?" with the known name that takes the fewest letters to insert, remove or replace (their
/// Levenshtein distance), or an empty text if that would be more than a third of the name's letters.
std::string did_you_mean(const std::string& name, const std::vector<std::string>& known);

}  // namespace pleat
