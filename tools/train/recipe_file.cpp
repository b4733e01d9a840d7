#include "tools/train/recipe_file.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/json.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Folders that may hold recipes, the first to look in first.
std::vector<fs::path> recipe_folders() {
  std::vector<fs::path> folders = {"models/recipes"};
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  for (fs::path folder = program.parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
    folders.push_back(folder / "models/recipes");
    folders.push_back(folder / "share/pleat/recipes");
  }
  std::erase_if(folders, [](const fs::path& folder) {
    std::error_code absent;
    return !fs::is_directory(folder, absent);
  });
  return folders;
}

std::string find_recipe(const std::string& name_or_file) {
  if (name_or_file.ends_with(".json")) return name_or_file;
  for (const fs::path& folder : recipe_folders())
    if (fs::exists(folder / (name_or_file + ".json"))) return folder / (name_or_file + ".json");
  std::string known;
  for (const std::string& name : recipe_names()) known += concat(known.empty() ? "" : ", ", name);
  throw std::runtime_error(concat("recipe '", name_or_file, "' is not among those found here",
                                  known.empty() ? " (none)" : ": ", known,
                                  "\nhint: a file of your own ends in .json, for example ./", name_or_file, ".json"));
}

// Sets one setting from its value in the file.
template <class T>
void read(T& setting, const Json& value, const SettingRange& range, const std::string& where, const char* name) {
  if constexpr (std::is_same_v<T, bool>) {
    PLEAT_CHECK_FILE(value.is_boolean(), where, name, " is ", value.dump(), ", expected true or false");
    setting = value.get<bool>();
  } else if constexpr (std::is_same_v<T, Schedule::Kind>) {
    PLEAT_CHECK_FILE(value.is_string(), where, name, " is ", value.dump(), ", expected a name");
    setting = parse_schedule_kind(value.get<std::string>());
  } else {
    const bool whole = std::is_same_v<T, int64_t>;
    const bool fits = (whole ? value.is_number_integer() : value.is_number()) && value.get<double>() >= range.min &&
                      value.get<double>() <= range.max;
    PLEAT_CHECK_FILE(fits, where, name, " is ", value.dump(), ", expected a ", whole ? "whole " : "", "number from ",
                     range.min, " to ", range.max);
    setting = value.get<std::conditional_t<whole, int64_t, double>>();
  }
}

// Sets what one part of the file says.
void apply(Recipe& recipe, const Json& part, const std::string& where) {
  PLEAT_CHECK_FILE(part.is_object(), where, "expected an object of settings");
  std::set<std::string> known;
  for_each_setting(recipe,
                   [&](const char* name, auto& setting, const SettingRange& range, SettingFor what, const char*) {
                     if (!applies(what, recipe, true)) return;
                     known.insert(name);
                     if (part.contains(name)) read(setting, part[name], range, where, name);
                   });
  for (const auto& [key, value] : part.items())
    PLEAT_CHECK_FILE(known.contains(key), where, "'", key, "' is no setting of ", recipe.command);
}

}  // namespace

std::vector<std::string> recipe_names() {
  std::set<std::string> names;
  for (const fs::path& folder : recipe_folders())
    for (const fs::directory_entry& file : fs::directory_iterator(folder))
      if (file.path().extension() == ".json") names.insert(file.path().stem());
  return {names.begin(), names.end()};
}

void apply_recipe(Recipe& recipe, const std::string& name_or_file) {
  const std::string path = find_recipe(name_or_file);
  const std::vector<std::byte> bytes = read_file(path);
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const Json file = parse_json({text, bytes.size()});
  PLEAT_CHECK_FILE(file.is_object(), path, "not a JSON object, or cut short");
  for (const auto& [key, value] : file.items())
    PLEAT_CHECK_FILE(key == "about" || key == "train" || key == "prefold" || key == "finetune" || key == "distill",
                     path, "has a part '", key, "', expected about, train, prefold, finetune or distill");
  recipe.name = fs::path(path).stem();
  try {
    if (file.contains(recipe.command)) apply(recipe, file[recipe.command], concat(path, ": ", recipe.command));
    check_settings(recipe);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(concat(path, ": ", error.what()));
  }
}

}  // namespace pleat
