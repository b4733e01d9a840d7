// JSON of Pleat's own files, read with care: such a file may come from anywhere.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace pleat {

using Json = nlohmann::ordered_json;

/// The JSON object that is the whole text. Throws std::runtime_error `where: reason` for anything else, also for
/// objects that are nested deeper than any of Pleat's.
Json parse_json(std::string_view text, const std::string& where);

/// The same for a file.
Json read_json(const std::string& path);

/// Reads the objects of a file with one a line, such as a run's log. A last line without a newline was cut short by a
/// crash and is left out.
std::vector<Json> read_json_lines(const std::string& path);

/// A number of an object; NaN if it is null (as numbers are written that are not finite) or absent.
double number(const Json& object, const char* key);

/// Runs `body`, which reads what the file `path` holds, and says the file's name in its errors: those of the JSON
/// library for fields that are missing or of another type, and std::invalid_argument.
std::string name_file_in_errors(const std::string& path, const std::function<std::string()>& body);

}  // namespace pleat
