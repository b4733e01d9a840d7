#include "tools/train/recipe.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "core/check.hpp"
#include "core/parallel.hpp"

namespace pleat {

bool applies(SettingFor what, const Recipe& recipe, bool with_teacher) {
  switch (what) {
    case SettingFor::every_run:
      return true;
    case SettingFor::alphas:
      return recipe.trains_alphas();
    case SettingFor::labels:
      return !recipe.learns_features();
    case SettingFor::teacher:
      return with_teacher && !recipe.learns_features();
    case SettingFor::features:
      return recipe.learns_features();
  }
  return false;
}

Recipe usual_recipe(const std::string& command) {
  Recipe recipe{.command = command, .threads = num_threads()};
  if (command == "train") return recipe;
  if (command == "prefold") {
    // The paper's: 100 epochs at a constant rate of 1e-3, lambda 0.25, p 2, and no weight decay on ResNets.
    recipe.epochs = 100;
    recipe.lr = 0.001;
    recipe.schedule = Schedule::Kind::constant;
    recipe.weight_decay = 0;
    return recipe;
  }
  if (command == "distill") {
    // As measured in docs/performance-log.md.
    recipe.epochs = 20;
    recipe.batch = 32;
    recipe.lr = 2e-4;
    recipe.adam = true;
    recipe.weight_decay = 0;
    return recipe;
  }
  PLEAT_CHECK(command == "finetune", "recipe: got '", command, "', expected train, prefold, finetune or distill");
  recipe.epochs = 60;
  recipe.lr = 0.02;
  return recipe;
}

void check_settings(const Recipe& recipe) {
  const auto check = [](const char* name, double value, const SettingRange& range) {
    PLEAT_CHECK(value >= range.min && value <= range.max, "recipe: ", name, " is ", value, ", expected ", range.min,
                " to ", range.max);
  };
  for_each_setting(recipe,
                   [&](const char* name, const auto& value, const SettingRange& range, SettingFor, const char*) {
                     using T = std::remove_cvref_t<decltype(value)>;
                     if constexpr (std::is_same_v<T, int64_t>) check(name, static_cast<double>(value), range);
                     if constexpr (std::is_same_v<T, double>) check(name, value, range);
                     if constexpr (std::is_same_v<T, std::optional<double>>)
                       check(name, value.value_or(range.min), range);
                   });
  check("warmup", recipe.warmup, {0, static_cast<double>(recipe.epochs)});
  check("fade", recipe.fade, {0, static_cast<double>(recipe.epochs)});
}

ExecOptions training_options(const Recipe& r) {
  return {
      .batch = r.batch / r.ranks, .training = true, .kernels = r.kernels, .algorithms = r.algorithms, .dtype = r.dtype};
}

nlohmann::ordered_json settings(const Recipe& r) {
  nlohmann::ordered_json json;
  for_each_setting(r, [&](const char* name, const auto& value, const SettingRange&, SettingFor what, const char*) {
    if (!applies(what, r, !r.teacher.empty())) {
      json[name] = 0.0;
      return;
    }
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::optional<double>>)
      json[name] = value.value_or(r.weight_decay);
    else if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, Schedule::Kind>)
      json[name] = to_string(value);
    else
      json[name] = value;
  });
  return json;
}

nlohmann::ordered_json to_json(const Recipe& r) {
  nlohmann::ordered_json json = {{"command", r.command},
                                 {"model", r.model},
                                 {"data", r.data},
                                 {"class_list", r.class_list},
                                 {"skip_broken", r.skip_broken},
                                 {"teacher", r.teacher},
                                 {"seed", r.seed},
                                 {"threads", r.threads},
                                 {"kernels", r.kernels == Kernels::onednn ? "onednn" : "native"},
                                 {"algorithms", r.algorithms},
                                 {"dtype", r.dtype == Dtype::bf16 ? "bf16" : "f32"}};
  if (!r.fading.empty()) {
    json["fading"] = r.fading;
    json["fade"] = r.fade;
  }
  if (r.ranks > 1) json["ranks"] = r.ranks;
  if (!r.val.empty()) json["val"] = r.val;
  if (r.freeze_norms) json["freeze_norms"] = true;
  if (!r.freeze.empty()) json["freeze"] = r.freeze;
  if (!r.name.empty()) json["recipe"] = r.name;
  if (r.network.width) json["width"] = *r.network.width;
  if (r.network.classes) json["classes"] = *r.network.classes;
  if (r.network.input_size) json["input_size"] = *r.network.input_size;
  json.update(settings(r));
  return json;
}

Recipe recipe_from_json(const nlohmann::ordered_json& json) {
  Recipe r{.command = json.at("command"),
           .name = json.value("recipe", ""),
           .model = json.at("model"),
           .data = json.at("data"),
           .val = json.value("val", ""),
           .class_list = json.at("class_list"),
           .skip_broken = json.at("skip_broken"),
           .teacher = json.at("teacher"),
           .fading = json.value("fading", std::vector<std::string>()),
           .fade = json.value("fade", 0.0),
           .freeze_norms = json.value("freeze_norms", false),
           .freeze = json.value("freeze", std::vector<std::string>()),
           .seed = json.at("seed"),
           .threads = json.at("threads"),
           .ranks = json.value("ranks", 1),
           .kernels = json.at("kernels") == "onednn" ? Kernels::onednn : Kernels::native,
           .algorithms = json.at("algorithms"),
           .dtype = json.at("dtype") == "bf16" ? Dtype::bf16 : Dtype::f32};
  if (json.contains("width")) r.network.width = json["width"].get<double>();
  if (json.contains("classes")) r.network.classes = json["classes"].get<int>();
  if (json.contains("input_size")) r.network.input_size = json["input_size"].get<int>();
  for_each_setting(r, [&](const char* name, auto& setting, const SettingRange&, SettingFor what, const char*) {
    if (!applies(what, r, !r.teacher.empty())) return;  // recorded as 0, which may be no value of theirs
    using T = std::remove_cvref_t<decltype(setting)>;
    if constexpr (std::is_same_v<T, Schedule::Kind>)
      setting = parse_schedule_kind(json.at(name).get<std::string>());
    else if constexpr (std::is_same_v<T, std::optional<double>>)
      setting = json.at(name).get<double>();
    else
      setting = json.at(name).get<T>();
  });
  return r;
}

}  // namespace pleat
