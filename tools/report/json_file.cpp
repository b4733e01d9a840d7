#include "tools/report/json_file.hpp"

#include <cmath>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/json.hpp"

namespace pleat {
namespace {

constexpr int kDeepest = 32;

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  PLEAT_CHECK_FILE(!is_nested_deeper(text, kDeepest), where, "nested deeper than ", kDeepest, " levels");
  Json json = parse_json(text);
  PLEAT_CHECK_FILE(json.is_object(), where, "cut short, or not a JSON object");
  return json;
}

Json read_json(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

std::vector<Json> read_json_lines(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<Json> lines;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string_view::npos; begin = end + 1)
    lines.push_back(parse_json(text.substr(begin, end - begin), concat(path, ": line ", lines.size() + 1)));
  return lines;
}

double number(const Json& object, const char* key) {
  const auto entry = object.find(key);
  return entry == object.end() || entry->is_null() ? NAN : entry->get<double>();
}

std::string name_file_in_errors(const std::string& path, const std::function<std::string()>& body) {
  try {
    return body();
  } catch (const Json::exception& error) {
    throw std::runtime_error(concat(path, ": ", error.what()));
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(concat(path, ": ", error.what()));
  }
}

}  // namespace pleat
