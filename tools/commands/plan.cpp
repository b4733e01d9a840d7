// `pleat plan MODEL --out F` chooses the activations to drop and the groups to merge, by the latency measured on this
// CPU.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/machine.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "data/dataset_for.hpp"
#include "data/loader.hpp"
#include "fold/mask.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/importance.hpp"
#include "tools/measure/stopwatch.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/picture_options.hpp"
#include "tools/plan_file.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMaxError = 0.1;  // of the predicted latency; above it the user is warned

// How losses are measured, with its name and a description.
struct Importance {
  Losses losses;
  std::string name, text;
};

void declare_options(Cli& cli) {
  cli.argument("MODEL", "a name from `pleat list` or a model file");
  cli.option("out", "FILE", "JSON file to write; read by `pleat fold --plan` and tools/scripts/plot_plan.sh");
  cli.option("max-drop", "X", "choose the fastest point with at most this loss, in the unit shown");
  cli.option("min-speedup", "X", "choose the point of least loss that is at least X times as fast");
  cli.option("depth", "N", "choose only among points of this depth (the number of remaining activations + 1)");
  cli.option("importance", "auto|alphas|pictures",
             "estimate losses from trained alphas or from pictures; auto: from alphas if any is above 0 and --data is "
             "not given",
             "auto");
  cli.option("data", "NAME|DIR", "pictures to estimate the loss on (default: random noise)");
  cli.option("split", "test|train", "split of the data set", "test");
  cli.option("pictures", "N", "number of these pictures", "100");
  cli.option("borders", "HOW",
             "how groups are merged at the borders when they are timed: reorder (the padding moves; needs fine-tuning) "
             "or exact",
             "reorder");
  cli.option("max-kernel", "N", "largest kernel size that merging may produce", "7");
  declare_stopwatch(cli, "60");
  declare_network_options(cli);
}

// The first n pictures of the shuffled data set, as the network takes them.
AlignedVector<float> first_pictures(const Cli& cli, const Model& model, int64_t n) {
  const Split split = cli.choice("split", {"test", "train"}) == "train" ? Split::train : Split::test;
  const Dataset data = load_dataset(cli.text("data"), split);
  n = std::min(n, data.size());
  Loader loader(data, picture_format(model),
                {.batch = n, .shuffle = true, .seed = cli.seed(), .threads = loader_threads(data)});
  loader.start_epoch(0);
  const std::span<const float> images = loader.next()->images;
  return {images.begin(), images.end()};
}

Importance choose_importance(const Cli& cli, const Model& model) {
  const std::vector<Foldable> cells = foldable_activations(model);
  const bool trained = std::any_of(cells.begin(), cells.end(), [](const Foldable& cell) { return cell.value > 0; });
  const std::string& importance = cli.choice("importance", {"auto", "alphas", "pictures"});
  if (importance == "alphas" || (importance == "auto" && trained && !cli.has("data"))) {
    PLEAT_CHECK(trained,
                "plan: all alphas are 0, expected trained alphas\nhint: train them with `pleat prefold`, or use "
                "--importance pictures");
    return {alpha_losses(model), "alphas", "sum of 1 - alpha over the dropped activations"};
  }
  const int64_t n = cli.integer("pictures", 1, 100'000);
  AlignedVector<float> pictures;
  if (cli.has("data")) {
    pictures = first_pictures(cli, model, n);
  } else {
    pictures.resize(n * infer_shapes(model.graph)[0].size());
    Rng rng(cli.seed());
    for (float& pixel : pictures) pixel = static_cast<float>(rng.normal());
  }
  const std::string text =
      concat("Kullback-Leibler divergence from the outputs before, in nats, averaged over ",
             pictures.size() / infer_shapes(model.graph)[0].size(), " pictures ",
             cli.has("data") ? "of " + cli.text("data")
                             : "of random noise (use --data for real pictures; labels are not needed)");
  return {divergences(model, std::move(pictures), cli.quiet()), "divergence", text};
}

PlanGoal read_goal(const Cli& cli) {
  if (cli.has("max-drop") && cli.has("min-speedup"))
    cli.usage_error("both --max-drop and --min-speedup were given, expected at most one");
  PlanGoal goal;
  if (cli.has("max-drop")) goal.max_loss = cli.number("max-drop", 0, 1e9);
  if (cli.has("min-speedup")) goal.min_speedup = cli.number("min-speedup", 0, 1e3);
  if (cli.has("depth")) goal.depth = static_cast<int>(cli.integer("depth", 1, 1 << 20));
  return goal;
}

void print_candidates(std::ostream& out, const LatencyPlan& plan) {
  std::size_t width = 10;
  for (const std::string& alpha : plan.alphas) width = std::max(width, alpha.size());
  out << std::left << std::setw(static_cast<int>(width)) << "activation"
      << "  run     loss  dropped   merged  kernel   (ms more than " << 1e3 * plan.seconds << ")\n";
  for (const Candidate& candidate : plan.candidates) {
    const DropRun& run = candidate.run;
    out << std::left << std::setw(static_cast<int>(width)) << plan.alphas[run.first] << std::right << std::setw(5)
        << run.last - run.first + 1 << std::setw(9) << candidate.loss << std::setw(9) << std::showpos
        << 1e3 * (candidate.seconds - plan.seconds);
    if (!run.ops.empty())
      out << std::setw(9) << 1e3 * (candidate.merged_seconds - plan.seconds) << std::noshowpos << std::setw(8)
          << run.kernel;
    out << std::noshowpos << '\n';
  }
}

void print_points(std::ostream& out, const LatencyPlan& plan) {
  out << "\npoint  depth  merged ops     loss  measured    ms  measured  speed-up  measured  mask\n";
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    const PlanPoint& p = plan.points[i];
    const double seconds = p.measured_seconds.value_or(NAN);
    out << std::setw(5) << i << (static_cast<int>(i) == plan.chosen ? '*' : ' ') << std::setw(6) << p.depth
        << (p.best_of_depth ? '+' : ' ') << std::setw(11) << p.groups.size() << std::setprecision(3) << std::setw(9)
        << p.loss << std::setw(10) << p.measured_loss.value_or(NAN) << std::setprecision(2) << std::setw(7)
        << 1e3 * p.seconds << std::setw(9) << 1e3 * seconds << std::setw(10) << plan.seconds / p.seconds
        << std::setw(10) << plan.seconds / seconds << "  " << p.mask << '\n';
  }
  const double error = prediction_error(plan);
  out << "* marks the chosen point, + the point that --depth would choose. The predicted latency is at most "
      << std::setprecision(1) << 100 * error << "% off the measured one"
      << (error < kMaxError ? "" : ", which is too much: a quieter machine or more --seconds may help") << '\n';
}

}  // namespace

int plan_command(int argc, char** argv) {
  Cli cli(
      "pleat plan",
      "Chooses the activations to drop and the groups to merge by the latency measured on this machine. Each run of "
      "activations across which ops can be merged is dropped alone, and the network is timed with and without merging; "
      "the loss is estimated from the alphas or from the change of the outputs. The best sets are found by dynamic "
      "programming and then measured.",
      "pleat plan prefold.safetensors --out plan.json        # losses from trained alphas\n"
      "pleat plan net.safetensors --data DIR --out plan.json # losses from pictures\n"
      "pleat plan net.safetensors --data DIR --depth 13 --min-speedup 1.2 --out plan.json\n"
      "pleat fold net.safetensors --plan plan.json --merge none --out folded.safetensors");
  declare_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("out");
  check_output(file, {cli.argument("MODEL")});
  const PlanGoal goal = read_goal(cli);
  const Stopwatch stopwatch = make_stopwatch(cli);
  const Borders borders =
      cli.choice("borders", {"reorder", "exact"}) == "exact" ? Borders::exact : Borders::move_padding;
  const int max_kernel = static_cast<int>(cli.integer("max-kernel", 1, 99));

  const Model model = open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli));
  const Importance importance = choose_importance(cli, model);
  const Machine machine = read_machine();
  const std::string dtype = cli.dtype() == Dtype::bf16 ? "bf16" : "f32";
  std::ostream& out = cli.out();
  out << "loss: " << importance.text << "\nlatency: batch " << cli.text("batch") << ", " << num_threads()
      << " threads, " << dtype << ", " << machine.cpu << "\n\n";
  const LatencyPlan plan = plan_by_latency(model, borders, max_kernel, goal, stopwatch, importance.losses);

  Json json = to_json(plan);
  json.update({{"model", cli.argument("MODEL")},
               {"machine", {{"cpu", machine.cpu}, {"features", machine.features}, {"onednn", machine.onednn}}},
               {"threads", num_threads()},
               {"batch", cli.integer("batch", 1)},
               {"dtype", dtype},
               {"loss", {{"by", importance.name}, {"text", importance.text}}}});
  write_file(file, json.dump(2) + '\n');
  out << std::fixed << std::setprecision(3);
  print_candidates(out, plan);
  print_points(out, plan);
  out << "written to " << file << "; `pleat fold " << cli.argument("MODEL") << " --plan " << file << "` applies it\n";
  out.unsetf(std::ios::fixed);
  cli.finish(json);
  return 0;
}

}  // namespace pleat
