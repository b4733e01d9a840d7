#include "tools/report/provenance.hpp"

#include <algorithm>
#include <set>

#include "core/check.hpp"
#include "tools/report/html.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {
namespace {

constexpr const char* kPlainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,+-";

std::string value_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// `name` as an option with the value, or nothing if the value says that it was not given.
std::string option(std::string name, const Json& value) {
  std::ranges::replace(name, '_', '-');
  if (value.is_boolean()) return value.get<bool>() ? " --" + name : "";
  const std::string text = value_text(value);
  return text.empty() ? "" : concat(" --", name, ' ', shell_word(text));
}

// A text of the recipe; empty in older files that lack it.
std::string text_of(const Json& recipe, const char* key) {
  return recipe.contains(key) ? value_text(recipe[key]) : "";
}

// Settings of the usual recipe for this kind of training, with or without a teacher.
Json usual_settings(const Json& recipe) {
  Recipe usual = usual_recipe(recipe.at("command").get<std::string>());
  usual.teacher = text_of(recipe, "teacher");
  Json json = settings(usual);
  json["norm_weight_decay"] = recipe.at("weight_decay");  // what it is if it is not given
  return json;
}

}  // namespace

std::string shell_word(const std::string& word) {
  if (!word.empty() && word.find_first_not_of(kPlainCharacters) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string training_command(const Json& recipe) {
  const Json usual = usual_settings(recipe);
  std::string command = concat("pleat ", recipe.at("command").get<std::string>(), ' ',
                               shell_word(value_text(recipe.at("model"))), " --out DIR");
  for (const char* name :
       {"data", "class_list", "teacher", "seed", "threads", "kernels", "dtype", "width", "classes", "input_size"})
    if (recipe.contains(name)) command += option(name, recipe[name]);
  if (recipe.contains("algorithms")) command += option("tune", recipe["algorithms"]);
  for (const auto& [name, value] : usual.items())
    if (recipe.contains(name) && recipe[name] != value) command += option(name, recipe[name]);
  return command;
}

std::vector<std::string> commands_of(const Model& model) {
  std::vector<std::string> commands;
  const auto note = [&](const char* key) {
    const auto found = model.notes.find(key);
    return found == model.notes.end() ? std::string() : found->second;
  };
  if (note("command") == "import")
    commands.push_back(
        concat("pleat import ", shell_word(note("source")), " --model ", shell_word(note("model")), " --out FILE"));
  if (!note("recipe").empty()) commands.push_back(training_command(parse_json(note("recipe"), "its note 'recipe'")));
  if (!note("fold.mask").empty()) {
    std::string fold = concat("pleat fold MODEL --out FILE --mask ", shell_word(note("fold.mask")));
    for (const char* key : {"merge", "borders", "max_kernel"}) fold += option(key, note(concat("fold.", key).c_str()));
    if (!note("fold.fit").empty()) fold += " --fit PICTURES";
    if (!note("fold.plan").empty()) fold += " --plan FILE";
    commands.push_back(fold);
  }
  return commands;
}

std::string settings_table(const std::vector<Json>& recipes) {
  std::vector<Table::Column> columns = {{"setting", true}};
  std::set<std::string> names;
  std::vector<std::string> order;
  for (const Json& recipe : recipes) {
    columns.push_back({recipe.at("command").get<std::string>()});
    for (const auto& [name, value] : recipe.items())
      if (name != "command" && names.insert(name).second) order.push_back(name);
  }
  Table table(columns);
  for (const std::string& name : order) {
    std::vector<std::string> cells = {html_text(name)};
    for (const Json& recipe : recipes)
      cells.push_back(recipe.contains(name) ? html_text(value_text(recipe[name])) : "");
    table.row(cells);
  }
  return table.html();
}

}  // namespace pleat
