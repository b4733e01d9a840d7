#include "tools/recipe_options.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <type_traits>

#include "core/check.hpp"
#include "tools/network_options.hpp"
#include "tools/picture_options.hpp"
#include "tools/train/checkpoint.hpp"
#include "tools/train/recipe_file.hpp"
#include "tools/tune.hpp"

namespace pleat {
namespace {

std::string option_name(const char* setting) {
  std::string name = setting;
  std::ranges::replace(name, '_', '-');
  return name;
}

// The setting's option, with its usual value as the default.
template <class T>
void declare(Cli& cli, const std::string& name, const T& usual, const char* help) {
  if constexpr (std::is_same_v<T, bool>)
    cli.flag(name, help);
  else if constexpr (std::is_same_v<T, std::optional<double>>)
    cli.option(name, "X", help);
  else if constexpr (std::is_same_v<T, Schedule::Kind>)
    cli.option(name, "NAME", help, to_string(usual));
  else
    cli.option(name, std::is_same_v<T, int64_t> ? "N" : "X", help, nlohmann::json(usual).dump());
}

Schedule::Kind read_schedule(const Cli& cli, const std::string& name) {
  try {
    return parse_schedule_kind(cli.text(name));
  } catch (const std::invalid_argument& error) {
    cli.usage_error(concat("--", name, " ", cli.text(name), ": ", error.what()));
  }
}

// What the command line says of the setting, if it says anything.
template <class T>
void read(const Cli& cli, const std::string& name, T& value, const SettingRange& range) {
  if (!cli.given(name)) return;
  if constexpr (std::is_same_v<T, bool>)
    value = true;
  else if constexpr (std::is_same_v<T, Schedule::Kind>)
    value = read_schedule(cli, name);
  else if constexpr (std::is_same_v<T, int64_t>)
    value = cli.integer(name, static_cast<int64_t>(range.min), static_cast<int64_t>(range.max));
  else
    value = cli.number(name, range.min, range.max);
}

}  // namespace

void declare_recipe(Cli& cli, const std::string& command) {
  const Recipe usual = usual_recipe(command);
  cli.accept_bf16();
  cli.argument("MODEL", "name of `pleat list`, or a model file to start from");
  if (usual.learns_features()) {
    cli.option("data", "NAME|DIR", "pictures to learn from, in any folders; labels are not looked at");
    cli.option("val", "NAME|DIR", "labelled pictures to report on, of which training sees nothing");
  } else {
    cli.option("data", "NAME|DIR",
               "data set: a name of `pleat list`, or its folder, or one of train/<class>/, val/<class>/ pictures");
    cli.flag("freeze-norms",
             "merge batch norms into their convolutions first, so that training does not change their statistics");
  }
  declare_network_options(cli);
  declare_folder_options(cli);
  cli.option("out", "DIR", "folder for model.safetensors, best.safetensors, log.jsonl and state.safetensors");
  cli.option("recipe", "NAME|FILE", "recipe that gives the settings below which are not given here");
  cli.option("teacher", "MODEL",
             usual.learns_features() ? "model file of the network before it was folded"
                                     : "model file whose logits are learned as well (distillation)");
  cli.option("freeze", "PATTERN,...", "parameters that keep their values, as a shell's patterns (such as 'layer1.*')");
  for_each_setting(usual,
                   [&](const char* name, const auto& value, const SettingRange&, SettingFor what, const char* help) {
                     if (applies(what, usual, true)) declare(cli, option_name(name), value, help);
                   });
  declare_tune(cli);
  cli.flag("resume", "go on with the run in --out, bit for bit");
  cli.flag("force", "remove the run that --out holds, finished or not, and begin anew");
}

Recipe read_recipe(const Cli& cli, const std::string& command) {
  Recipe r = usual_recipe(command);
  r.model = cli.argument("MODEL");
  r.data = cli.text("data");
  r.network = network_options(cli);
  r.class_list = class_list_option(cli);
  r.skip_broken = skips_broken(cli);
  if (cli.has("val")) r.val = cli.text("val");
  r.freeze_norms = cli.has("freeze-norms");
  r.freeze = cli.list("freeze");
  if (cli.has("teacher")) r.teacher = cli.text("teacher");
  r.seed = cli.seed();
  r.kernels = cli.kernels();
  r.dtype = cli.dtype();
  if (cli.has("recipe")) apply_recipe(r, cli.text("recipe"));
  for_each_setting(r, [&](const char* name, auto& value, const SettingRange& range, SettingFor, const char*) {
    read(cli, option_name(name), value, range);
  });
  try {
    check_settings(r);
  } catch (const std::invalid_argument& error) {
    cli.usage_error(error.what());
  }
  return r;
}

RunFolderOptions run_folder_options(const Cli& cli) {
  const RunFolderOptions options{.resume = cli.has("resume"), .overwrite = cli.has("force")};
  if (options.overwrite && options.resume)
    cli.usage_error("both --resume and --force were given, expected at most one");
  return options;
}

std::string run_algorithms(const Cli& cli, const Graph& graph, const Recipe& recipe) {
  const std::string state = cli.text("out") + "/state.safetensors";
  if (cli.has("resume") && cli.text("tune") == "auto" && std::filesystem::exists(state))
    return saved_algorithms(state, recipe);
  return tune(cli, graph, training_options(recipe));
}

}  // namespace pleat
