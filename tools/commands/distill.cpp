// `pleat distill`: a folded network learns its teacher's features from pictures without labels.
#include "tools/train/distill.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>

#include "core/clock.hpp"
#include "ops/model_file.hpp"
#include "tools/agreement.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/recipe_options.hpp"
#include "tools/train/checkpoint.hpp"
#include "tools/train/feature_part.hpp"
#include "tools/train/run_folder.hpp"
#include "tools/train/trainer.hpp"

namespace pleat {
namespace {

// The epochs that fit into --hours; of a run that is resumed those that it began with.
void choose_epochs(const Cli& cli, const Model& model, const Model& teacher, const TrainingData& data, Recipe& recipe) {
  if (!cli.has("hours")) return;
  if (cli.given("epochs")) cli.usage_error("both --epochs and --hours were given, expected at most one");
  const std::string state = cli.text("out") + "/state.safetensors";
  recipe.epochs = cli.has("resume") && std::filesystem::exists(state)
                      ? saved_epochs(state)
                      : epochs_within(3600 * cli.number("hours", 1e-4, 1e4), model, teacher, data, recipe);
}

}  // namespace

int distill_command(int argc, char** argv) {
  Cli cli("pleat distill",
          "A folded network learns from pictures without labels to give the features that its teacher, the network "
          "before folding, gives before its global pooling. Batch norms are frozen (merged), and the classifier stays "
          "as it is.",
          "pleat fold net.safetensors --mask '##.#.#' --fit PICTURES --out fitted.safetensors\n"
          "pleat distill fitted.safetensors --teacher net.safetensors --data PICTURES --epochs 20 --out runs/distill\n"
          "pleat distill fitted.safetensors --teacher net.safetensors --data PICTURES --val LABELLED --class-list "
          "classes.txt --hours 0.5 --out runs/distill");
  declare_recipe(cli, "distill");
  cli.option("hours", "X", "as many epochs as this machine does in this time (default: --epochs)");
  if (!cli.parse(argc, argv)) return 0;
  Recipe recipe = read_recipe(cli, "distill");
  if (recipe.teacher.empty()) cli.usage_error("missing option --teacher, the network before it was folded");
  const RunFolderOptions folder = run_folder_options(cli);
  Model model = with_frozen_norms(load_model(recipe.model));
  const Model teacher = load_model(recipe.teacher);
  const std::string out = cli.text("out");
  const TrainingData data = load_training_data(model, recipe, cli.quiet());
  check_distillation(model, teacher, data, recipe);
  { const RunFolder free_now(out, folder); }
  choose_epochs(cli, model, teacher, data, recipe);
  recipe.algorithms = run_algorithms(cli, feature_part(model).graph, recipe);
  const TrainResult result = run_training(model, data, recipe, out,
                                          {.resume = folder.resume,
                                           .overwrite = folder.overwrite,
                                           .quiet = cli.quiet(),
                                           .keep_best = false,
                                           .teacher = &teacher});

  nlohmann::ordered_json fields = settings(recipe);
  fields.update({{"feature_error", result.loss},
                 {"images_per_second", result.images_per_second},
                 {"seconds", result.seconds},
                 {"algorithms", recipe.algorithms},
                 {"broken", result.broken},
                 {"model", out + "/model.safetensors"}});
  cli.out() << "feature error " << result.loss << " in the last epoch -> " << out << "/model.safetensors\n";
  if (data.test.size() > 0) {
    const Agreement agreement = measure_agreement(teacher, model, data.test, recipe.skip_broken, cli.quiet());
    print_agreement(cli.out(), agreement);
    fields.update(to_json(agreement));
  }
  cli.finish(fields);
  return 0;
}

}  // namespace pleat
