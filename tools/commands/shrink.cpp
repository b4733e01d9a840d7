// `pleat shrink`: from a pretrained network and unlabelled pictures to a faster network, in one command.
#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/file.hpp"
#include "data/loader.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "ops/model_file.hpp"
#include "tools/agreement.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/fit_pictures.hpp"
#include "tools/measure/stopwatch.hpp"
#include "tools/picture_options.hpp"
#include "tools/recoverability.hpp"
#include "tools/train/checkpoint.hpp"
#include "tools/train/compare_models.hpp"
#include "tools/train/distill.hpp"
#include "tools/train/feature_part.hpp"
#include "tools/train/interrupt.hpp"
#include "tools/train/run_folder.hpp"
#include "tools/tune.hpp"

namespace pleat {
namespace {

constexpr int kKernel = 3, kLongestRun = 3;

void declare_options(Cli& cli) {
  cli.argument("MODEL", "model file of a trained network");
  cli.option("data", "NAME|DIR", "pictures to learn from, in any folders; labels are not looked at");
  cli.option("val", "NAME|DIR", "labelled pictures to report on, of which nothing else sees anything");
  declare_folder_options(cli);
  cli.option("min-speedup", "X", "how many times as fast the network is to become on this machine");
  cli.option("hours", "X", "time for all of it", "1");
  cli.option("pictures", "N", "number of pictures to fit on", "1000");
  cli.option("scan-pictures", "N", "number of pictures to fit on when each run of activations is tried", "200");
  cli.option("out", "FILE", "model file to write; FILE.run is the folder of the training");
  declare_stopwatch(cli, "30");
}

// Which activations to drop, by what each costs and gains alone.
std::string choose_mask(const Cli& cli, const Model& model, const Stopwatch& stopwatch) {
  const RunNetworks scan =
      run_on_pictures(model, cli.text("data"), cli.integer("scan-pictures", 1), cli.seed(), cli.quiet());
  const FittedDrops measured = measure_fitted_drops(model, kLongestRun, kKernel, scan, stopwatch);
  const std::vector<Foldable> cells = foldable_activations(model);
  std::ostream& out = cli.out();
  out << "latency " << 1e3 * measured.seconds << " ms; with a run of activations dropped and convolutions fitted:\n"
      << "feature error          ms  run\n";
  for (const FittedDrop& drop : measured.drops)
    out << std::setw(13) << drop.feature_error << std::setw(12) << 1e3 * drop.seconds << "  " << cells[drop.first].alpha
        << (drop.last > drop.first ? " to " + cells[drop.last].alpha : "") << '\n';
  return choose_fitted_drops(measured, cells.size(), cli.number("min-speedup", 1, 1e3));
}

Recipe recipe_of(const Cli& cli, const std::string& fitted) {
  Recipe recipe = usual_recipe("distill");
  recipe.model = fitted;
  recipe.data = cli.text("data");
  recipe.teacher = cli.argument("MODEL");
  if (cli.has("val")) recipe.val = cli.text("val");
  recipe.class_list = class_list_option(cli);
  recipe.skip_broken = skips_broken(cli);
  recipe.seed = cli.seed();
  recipe.kernels = cli.kernels();
  recipe.dtype = cli.dtype();
  return recipe;
}

// The proof that the last merge changed nothing: the largest difference of the logits of some pictures, as a fraction
// of their range.
double prove(const Cli& cli, const Model& before, const Model& after, const TrainingData& data) {
  const int64_t batch = std::min<int64_t>(20, data.train.size());
  Comparison comparison(before, after, batch, cli.kernels());
  Loader loader(data.train, picture_format(before),
                {.batch = batch,
                 .shuffle = true,
                 .skip_broken = true,
                 .seed = cli.seed(),
                 .threads = loader_threads(data.train)});
  loader.start_epoch(0);
  const Batch* pictures = loader.next();
  comparison.add(pictures->images, pictures->size);
  return comparison.proof().max_rel_diff();
}

// The fitted network, from the folder of an earlier call or made now.
Model fitted_network(const Cli& cli, const Model& model, const Recipe& recipe, const Stopwatch& stopwatch) {
  if (std::filesystem::exists(recipe.model)) return load_model(recipe.model);
  const std::string mask = choose_mask(cli, model, stopwatch);
  const RunNetworks run = run_on_pictures(model, recipe.data, cli.integer("pictures", 1), cli.seed(), cli.quiet());
  const FoldOptions options{.mask = mask, .merge = FoldOptions::Merge::cheaper, .max_kernel = kKernel, .fit = run};
  const Model fitted = fold(model, options).model;
  save_model(recipe.model, fitted);
  return fitted;
}

// Lets `learner` learn the features of `base` for what is left of the time. Goes on with what the folder holds.
TrainResult learn(const Cli& cli, Model& learner, const Model& base, const TrainingData& data, Recipe& recipe,
                  double seconds_left) {
  const std::string folder = cli.text("out") + ".run", state = folder + "/state.safetensors";
  const bool resume = has_state(folder);
  recipe.epochs =
      resume ? saved_epochs(state) : epochs_within(std::max(0.0, seconds_left), learner, base, data, recipe);
  recipe.algorithms =
      resume ? saved_algorithms(state, recipe) : tune(cli, feature_part(learner).graph, training_options(recipe));
  return run_training(learner, data, recipe, folder,
                      {.resume = resume, .quiet = cli.quiet(), .keep_best = false, .teacher = &base});
}

// What the user gets to know of the result.
nlohmann::ordered_json report(const Cli& cli, const Model& base, const Model& merged, const TrainingData& data,
                              const Recipe& recipe, const Stopwatch& stopwatch) {
  const std::vector<double> seconds = stopwatch(2, [&](int i) { return i == 0 ? base : merged; });
  nlohmann::ordered_json fields = {{"mask", merged.notes.at("fold.mask")},
                                   {"latency_ms", 1e3 * seconds[1]},
                                   {"latency_ms_base", 1e3 * seconds[0]},
                                   {"epochs", recipe.epochs}};
  cli.out() << "mask " << merged.notes.at("fold.mask") << "\nlatency " << 1e3 * seconds[0] << " -> " << 1e3 * seconds[1]
            << " ms, " << seconds[0] / seconds[1] << " times as fast\n";
  if (seconds[0] / seconds[1] < cli.number("min-speedup", 1, 1e3))
    cli.out() << "this is less than --min-speedup, since what is saved does not simply add up; ask for more\n";
  if (data.test.size() > 0) {
    const Agreement agreement = measure_agreement(base, merged, data.test, recipe.skip_broken, cli.quiet());
    print_agreement(cli.out(), agreement);
    fields.update(to_json(agreement));
  }
  return fields;
}

}  // namespace

int shrink_command(int argc, char** argv) {
  Cli cli("pleat shrink",
          "Makes a trained network faster on this machine with nothing but pictures without labels: tries runs of "
          "activations, drops those that cost least for what they save, fits convolutions in their place, lets the "
          "network learn the features that it had before, merges, proves, and times it.",
          "pleat shrink net.safetensors --data PICTURES --min-speedup 1.15 --hours 1 --out small.safetensors\n"
          "pleat shrink net.safetensors --data PICTURES --val LABELLED --class-list classes.txt --min-speedup 1.25 "
          "--hours 1 --dtype bf16 --out small.safetensors");
  declare_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const Clock::time_point start = Clock::now();
  const std::string file = cli.text("out"), folder = file + ".run";
  const double hours = cli.number("hours", 1e-4, 1e4);
  cli.number("min-speedup", 1, 1e3);
  check_output(file, {cli.argument("MODEL")});
  const Stopwatch stopwatch = make_stopwatch(cli);
  const Model base = load_model(cli.argument("MODEL")), model = with_frozen_norms(base);
  Recipe recipe = recipe_of(cli, folder + "/fitted.safetensors");
  const TrainingData data = load_training_data(model, recipe, cli.quiet());
  check_distillation(model, base, data, recipe);
  { const RunFolder free_now(folder, {.resume = true}); }  // made, and nobody else's

  Model learner = fitted_network(cli, model, recipe, stopwatch);
  const TrainResult result = learn(cli, learner, base, data, recipe, 3600 * hours - seconds_since(start));
  learner = load_model(folder + "/model.safetensors");  // with the notes of the training, also where that had ended
  const Model merged = fold(learner, {.merge = FoldOptions::Merge::cheaper}).model;
  save_model(file, merged);
  cli.out() << "feature error " << result.loss << " after " << recipe.epochs << " epochs\n";
  nlohmann::ordered_json fields = report(cli, base, merged, data, recipe, stopwatch);
  fields.update({{"feature_error", result.loss},
                 {"max_rel_diff", prove(cli, learner, merged, data)},
                 {"seconds", seconds_since(start)}});
  cli.out() << "-> " << file << '\n';
  cli.finish(fields);
  return 0;
}

}  // namespace pleat
