// `pleat train`, `prefold` and `finetune`: the same training loop with three usual recipes.
#include <filesystem>
#include <optional>
#include <ostream>

#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/open_model.hpp"
#include "tools/recipe_options.hpp"
#include "tools/train/feature_part.hpp"
#include "tools/train/run_folder.hpp"
#include "tools/train/trainer.hpp"

namespace pleat {
namespace {

int run(Cli& cli, const std::string& command, int argc, char** argv) {
  declare_recipe(cli, command);
  if (!cli.parse(argc, argv)) return 0;
  Recipe recipe = read_recipe(cli, command);
  Model model = open_model(recipe.model, recipe.seed, recipe.data, recipe.class_list, recipe.network);
  if (recipe.freeze_norms) model = with_frozen_norms(model);
  const std::string out = cli.text("out");
  if (!std::filesystem::is_directory(recipe.data)) find_dataset(recipe.data);  // fails before tuning takes its time
  const RunFolderOptions folder = run_folder_options(cli);
  const std::optional<Model> teacher =
      recipe.teacher.empty() ? std::nullopt : std::optional(load_model(recipe.teacher));
  { const RunFolder free_now(out, folder); }  // likewise
  recipe.algorithms = run_algorithms(cli, model.graph, recipe);
  const TrainResult result = run_training(model, load_training_data(model, recipe, cli.quiet()), recipe, out,
                                          {.resume = folder.resume,
                                           .overwrite = folder.overwrite,
                                           .quiet = cli.quiet(),
                                           .teacher = teacher ? &*teacher : nullptr});

  nlohmann::ordered_json fields = settings(recipe);
  fields.update({{"top1", result.top1},
                 {"loss", result.loss},
                 {"test_loss", result.test_loss},
                 {"images_per_second", result.images_per_second},
                 {"seconds", result.seconds},
                 {"algorithms", recipe.algorithms},
                 {"broken", result.broken}});
  if (command == "prefold") {
    fields["alphas"] = nlohmann::ordered_json::object();
    for (const Parameter& p : parameters(model.graph))
      if (p.role == Role::alpha) fields["alphas"][p.name] = model.tensors.at(p.name).values[0];
    fields["depth"] = depth(model.graph);
  }
  fields["model"] = out + "/model.safetensors";
  cli.out() << "top-1 " << 100 * result.top1 << "% on the test split -> " << out << "/model.safetensors\n";
  if (!result.broken.empty()) cli.out() << result.broken.size() << " broken files passed over:\n";
  for (const std::string& reason : result.broken) cli.out() << "  " << reason << '\n';
  cli.finish(fields);
  return 0;
}

}  // namespace

int train_command(int argc, char** argv) {
  Cli cli("pleat train", "Trains a network from scratch, or a model file further.",
          "pleat train resnet20 --data cifar10 --epochs 160 --out runs/resnet20\n"
          "pleat train resnet20 --data fashion-mnist --epochs 3 --out runs/fashion --schedule onecycle --warmup 1\n"
          "pleat train mobilenet_v2_1.0_cifar --width 0.5 --data cifar100 --epochs 160 --out runs/narrow");
  return run(cli, "train", argc, argv);
}

int prefold_command(int argc, char** argv) {
  Cli cli("pleat prefold",
          "Trains weights and alphas, so that activations that matter little become the identity: s_a(x) = a*x + "
          "(1-a)*s(x), with lambda * sum(1 - a^p) added to the loss (arXiv:2106.09309).",
          "pleat prefold runs/resnet20/model.safetensors --data cifar10 --epochs 100 --out runs/prefold");
  return run(cli, "prefold", argc, argv);
}

int finetune_command(int argc, char** argv) {
  Cli cli("pleat finetune", "Trains a folded network, with a small learning rate.",
          "pleat fold runs/prefold/model.safetensors --merge none --out folded.safetensors\n"
          "pleat finetune folded.safetensors --data cifar10 --epochs 60 --out runs/finetune --teacher "
          "resnet20.safetensors");
  return run(cli, "finetune", argc, argv);
}

}  // namespace pleat
