#include "core/json.hpp"

#include <cstddef>

namespace pleat {

bool is_nested_deeper(std::string_view text, int limit) {
  int depth = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') inside = !inside;
    if (inside && c == '\\') ++i;
    if (inside) continue;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth > limit) return true;
  }
  return false;
}

nlohmann::ordered_json parse_json(std::string_view text) {
  constexpr int kDeepest = 64;
  if (is_nested_deeper(text, kDeepest)) return nlohmann::ordered_json::value_t::discarded;
  return nlohmann::ordered_json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace pleat
