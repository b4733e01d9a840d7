// `pleat curve`: the accuracy of a network as its activations go, from the base down to the paper's depth.
#include "tools/train/curve.hpp"

#include <cmath>
#include <filesystem>
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/measure/stopwatch.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/picture_options.hpp"
#include "tools/train/recipe_file.hpp"

namespace pleat {
namespace {

// "15,12,9"
std::vector<int> read_depths(const Cli& cli) {
  std::vector<int> depths;
  for (const std::string& part : cli.list("depths")) {
    const bool number = !part.empty() && part.size() < 7 && part.find_first_not_of("0123456789") == std::string::npos;
    if (!number)
      cli.usage_error(concat("--depths ", cli.text("depths"), ": expected whole numbers, separated by commas"));
    depths.push_back(std::stoi(part));
  }
  if (depths.empty()) cli.usage_error("--depths: expected whole numbers, separated by commas");
  return depths;
}

Recipe read_part(const Cli& cli, const std::string& command) {
  Recipe recipe = usual_recipe(command);
  recipe.data = cli.text("data");
  recipe.class_list = class_list_option(cli);
  recipe.skip_broken = skips_broken(cli);
  recipe.seed = cli.seed();
  recipe.kernels = cli.kernels();
  recipe.dtype = cli.dtype();
  apply_recipe(recipe, cli.text("recipe"));
  return recipe;
}

void print_curve(std::ostream& out, const nlohmann::ordered_json& curve) {
  const nlohmann::ordered_json& base = curve["base"];
  out << "depth   top-1  convolutions   latency   speed-up  mask\n" << std::fixed;
  const auto row = [&](const nlohmann::ordered_json& entry) {
    out << std::setw(5) << entry["depth"].get<int>() << std::setprecision(2) << std::setw(7)
        << 100 * entry["top1"].get<double>() << '%' << std::setw(14) << entry["convs"].get<int>();
  };
  row(base);
  out << '\n';
  for (const nlohmann::ordered_json& point : curve["points"]) {
    row(point);
    const auto merged = point["latency_ms"].get<double>(), before = point["latency_ms_base"].get<double>();
    out << std::setprecision(3) << std::setw(7) << merged << " ms" << std::setprecision(2) << std::setw(11)
        << before / merged << "  " << point["mask"].get<std::string>() << '\n';
  }
}

}  // namespace

int curve_command(int argc, char** argv) {
  Cli cli("pleat curve",
          "The whole experiment of accuracy against depth: trains a base, pre-folds it, and goes down one depth after "
          "another under the base as teacher; each depth is merged, proved and timed. The same command goes on with an "
          "experiment that was stopped.",
          "pleat curve resnet20 --data cifar10 --out runs/resnet20-curve\n"
          "pleat curve resnet20 --data cifar10 --budget 0.3 --out runs/quick\n"
          "pleat curve runs/base/model.safetensors --data cifar10 --depths 15,12,9 --out runs/from-base");
  cli.argument("MODEL", "name of `pleat list`, which is trained first, or a trained model file");
  cli.option("data", "NAME|DIR", "data set: a name of `pleat list`, or its folder");
  declare_network_options(cli);
  declare_folder_options(cli);
  cli.option("out", "DIR", "folder of the experiment, with curve.json and the models of each depth");
  cli.option("depths", "LIST", "depths to visit, such as 15,12,9 (default: ten, down to where the paper stops)");
  cli.option("budget", "X", "hours that it may take: the epochs are scaled to fit (default: the recipe's epochs)");
  cli.option("recipe", "NAME|FILE", "how to train the base, the alphas and each depth", "short");
  cli.option("fade", "X", "part of each depth's epochs in which its activations fade out, 0 to 1", "0.3333333");
  declare_stopwatch(cli, "10");
  if (!cli.parse(argc, argv)) return 0;
  const std::string &name = cli.argument("MODEL"), &out = cli.text("out");
  CurveOptions options{.network = name,
                       .base = read_part(cli, "train"),
                       .prefold = read_part(cli, "prefold"),
                       .finetune = read_part(cli, "finetune"),
                       .fade = cli.number("fade", 0, 1),
                       .quiet = cli.quiet()};
  options.base.network = network_options(cli);
  if (cli.has("depths")) options.depths = read_depths(cli);
  if (cli.has("budget")) options.budget = 3600 * cli.number("budget", 1e-6, 1e5);
  options.stopwatch = make_stopwatch(cli);
  options.tune = cli.text("tune") == "auto";
  options.trained = std::filesystem::exists(name) || name.ends_with(".safetensors");
  const Model model = open_model(name, cli.seed(), cli.text("data"), options.base.class_list, options.base.network);
  nlohmann::ordered_json curve;
  try {
    curve = run_curve(model, options, out);
  } catch (const Interrupted& stop) {
    const std::string what = stop.what();
    throw Interrupted(what.substr(0, what.find("\nhint: ")) + "\nhint: the same command goes on with it");
  }
  print_curve(cli.out(), curve);
  cli.finish({{"base", curve["base"]}, {"points", curve["points"]}, {"curve", out + "/curve.json"}});
  return 0;
}

}  // namespace pleat
