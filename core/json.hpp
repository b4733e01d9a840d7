// Reads JSON that may come from anywhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace pleat {

/// Whether brackets outside of strings are nested more than `limit` deep in `text`.
bool is_nested_deeper(std::string_view text, int limit);

/// The value that `text` is; a discarded value (is_discarded()) if it is no JSON or is nested more than 64 deep, which
/// no file of Pleat is. What works on such values calls itself for each level, so that deep ones would overflow the
/// stack.
nlohmann::ordered_json parse_json(std::string_view text);

}  // namespace pleat
