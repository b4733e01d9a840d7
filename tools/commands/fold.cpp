// `pleat fold MODEL --out F` drops activations, merges the linear groups that arise, and prints what it did.
#include "fold/fold.hpp"

#include <algorithm>
#include <ostream>

#include "core/check.hpp"
#include "core/file.hpp"
#include "fold/latency_plan.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/fit_pictures.hpp"
#include "tools/fold_report.hpp"
#include "tools/measure/stopwatch.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/plan_file.hpp"

namespace pleat {
namespace {

constexpr double kThreshold = 0.9;               // as in the paper
constexpr int kMergeKernel = 7, kFitKernel = 3;  // the largest kernel sizes without --max-kernel

void declare_options(Cli& cli) {
  cli.argument("MODEL", "a name from `pleat list` or a model file");
  cli.option("out", "FILE", "model file to write");
  cli.option("threshold", "X",
             "drop activations with alpha >= X (default, if none of --threshold, --mask, --depth and --plan is given: "
             "0.9, or drop nothing if the model was folded before)");
  cli.option("mask", "MASK", "which activations to drop: one character for each in network order, # keeps, . drops");
  cli.option("depth", "N", "drop the largest alphas until the depth (the number of remaining activations + 1) is N");
  cli.option("plan", "FILE",
             "drop and merge as a file of `pleat plan` says: its chosen point, or the best point for --depth");
  cli.option("point", "N", "use this point of the plan");
  cli.option(
      "merge", "HOW",
      "which groups to merge: all, cheaper (those whose MACs do not grow), latency (those that make this CPU "
      "faster, as measured) or none (to fine-tune before merging); default: all, or cheaper with --fit and for what "
      "it made");
  cli.option("borders", "HOW",
             "how to merge at the borders: exact (the network computes the same as before) or reorder (the padding "
             "moves to the first convolution of each group: this costs nothing, but needs fine-tuning); default: "
             "reorder with --merge none, otherwise exact");
  cli.option("fit", "NAME|DIR",
             "replace each group that a dropped activation lies within by the convolution that fits it best on these "
             "pictures, which need no labels: a smaller kernel than merging needs, but another function, to be "
             "fine-tuned");
  cli.option("pictures", "N", "with --fit: number of these pictures", "1000");
  cli.option("max-kernel", "N", "largest kernel size that may be produced (default: 7 by merging, 3 by --fit)");
  declare_stopwatch(cli, "20");
  declare_network_options(cli);
}

// Refuses what --fit does not go with.
void check_fit(const Cli& cli) {
  if (!cli.has("fit")) {
    if (cli.given("pictures")) cli.usage_error("--pictures says how many to fit on, expected --fit with it");
    return;
  }
  if (cli.has("plan")) cli.usage_error("--plan says what to merge, expected --mask, --depth or --threshold with --fit");
  if (cli.has("borders")) cli.usage_error("--fit includes the borders, expected no --borders with it");
  if (cli.has("merge") && cli.text("merge") == "latency")
    cli.usage_error("--merge latency with --fit, expected all, cheaper or none");
}

FoldOptions read_options(const Cli& cli, const Model& model) {
  FoldOptions options;
  if (cli.has("mask") + cli.has("depth") + cli.has("threshold") > 1)
    cli.usage_error("more than one of --mask, --depth and --threshold was given, expected at most one");
  check_fit(cli);
  if (cli.has("mask"))
    options.mask = cli.text("mask");
  else if (cli.has("depth") && !cli.has("plan"))
    options.depth = static_cast<int>(cli.integer("depth", 1, 1 << 20));
  else if (cli.has("threshold"))
    options.threshold = cli.number("threshold", 0, 1);
  else if (!model.notes.contains("fold.mask") && !cli.has("plan"))
    options.threshold = kThreshold;
  const bool fitted = cli.has("fit") || (model.notes.contains("fold.fit") && !cli.has("plan"));
  const std::string merge = cli.has("merge") ? cli.choice("merge", {"all", "cheaper", "latency", "none"})
                            : fitted         ? "cheaper"
                                             : "all";
  options.merge = merge == "all"       ? FoldOptions::Merge::all
                  : merge == "cheaper" ? FoldOptions::Merge::cheaper
                  : merge == "latency" ? FoldOptions::Merge::latency
                                       : FoldOptions::Merge::none;
  options.stopwatch = make_stopwatch(cli);
  if (cli.has("borders"))
    options.borders = cli.choice("borders", {"reorder", "exact"}) == "exact" ? Borders::exact : Borders::move_padding;
  options.max_kernel = cli.has("max-kernel") ? static_cast<int>(cli.integer("max-kernel", 1, 99))
                       : cli.has("fit")      ? kFitKernel
                                             : kMergeKernel;
  if (cli.has("fit"))
    options.fit = run_on_pictures(model, cli.text("fit"), cli.integer("pictures", 1), cli.seed(), cli.quiet());
  return options;
}

// The point of the plan that --point or --depth asks for, or else the one that the plan chose.
const PlanPoint& choose_point(const Cli& cli, const LatencyPlan& plan) {
  if (cli.has("point") && cli.has("depth"))
    cli.usage_error("both --point and --depth were given, expected at most one");
  if (cli.has("point")) {
    const int64_t point = cli.integer("point", 0);
    PLEAT_CHECK(point < std::ssize(plan.points), cli.text("plan"), ": has no point ", point, ", expected 0 to ",
                plan.points.size() - 1);
    return plan.points[point];
  }
  const PlanPoint& chosen = plan.points[plan.chosen];
  if (!cli.has("depth")) return chosen;
  const int64_t depth = cli.integer("depth", 1, 1 << 20);
  if (chosen.depth == depth) return chosen;
  const auto best = std::find_if(plan.points.begin(), plan.points.end(),
                                 [&](const PlanPoint& point) { return point.best_of_depth && point.depth == depth; });
  PLEAT_CHECK(best != plan.points.end(), cli.text("plan"), ": has no point of depth ", depth,
              ", expected the depth of one of its points");
  return *best;
}

Folded fold_by_plan(const Cli& cli, const Model& model, const FoldOptions& options) {
  if (options.mask || options.threshold)
    cli.usage_error("--plan says what to drop, expected neither --mask nor --threshold with it");
  if (options.merge != FoldOptions::Merge::all && options.merge != FoldOptions::Merge::none)
    cli.usage_error("--plan says what to merge, expected --merge all (all groups of the plan) or none with it");
  const LatencyPlan plan = read_plan(cli.text("plan"));
  const PlanPoint& point = choose_point(cli, plan);
  Folded folded = fold_point(plan, point, model, options);
  cli.out() << "predicted: " << plan.seconds / point.seconds << " times as fast, loss " << point.loss << "\n\n";
  return folded;
}

}  // namespace

int fold_command(int argc, char** argv) {
  Cli cli(
      "pleat fold",
      "Drops activations and merges each linear group that arises into one convolution. The result is exact, borders "
      "included. With --merge none it only prepares the network for fine-tuning. With --fit the groups are fitted "
      "instead of merged.",
      "pleat fold prefold.safetensors --merge none --out folded.safetensors   # then fine-tune it\n"
      "pleat fold finetuned.safetensors --out merged.safetensors              # computes exactly the same\n"
      "pleat fold prefold.safetensors --borders exact --out merged.safetensors  # exact without fine-tuning\n"
      "pleat fold net.safetensors --plan plan.json --merge none --out folded.safetensors   # as `pleat plan` chose\n"
      "pleat fold net.safetensors --mask '#.#.####' --fit PICTURES --out fitted.safetensors   # then fine-tune it\n"
      "pleat fold resnet20 --mask '#..#.#.#.#..#..#.#.' --out merged.safetensors");
  declare_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("out");
  check_output(file, {cli.argument("MODEL"), cli.has("plan") ? cli.text("plan") : ""});

  const Model before = open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli));
  const FoldOptions options = read_options(cli, before);
  if (cli.has("point") && !cli.has("plan"))
    cli.usage_error("--point chooses a point of a plan, expected --plan with it");
  const auto [after, report] = cli.has("plan") ? fold_by_plan(cli, before, options) : fold(before, options);
  save_model(file, after);

  std::ostream& out = cli.out();
  print_fold_report(out, report);
  const auto change = [&](const char* what, auto a, auto b) { out << what << ' ' << a << " -> " << b; };
  change("\ndepth", depth(before.graph), depth(after.graph));
  change(", convolutions", conv_count(before.graph), conv_count(after.graph));
  change(", MACs", macs(before.graph), macs(after.graph));
  change(", parameters", parameter_count(before.graph), parameter_count(after.graph));
  out << "\nmask " << report.mask << " -> " << file << '\n';
  cli.finish({{"depth_before", depth(before.graph)},
              {"depth_after", depth(after.graph)},
              {"convs_before", conv_count(before.graph)},
              {"convs_after", conv_count(after.graph)},
              {"macs_before", macs(before.graph)},
              {"macs_after", macs(after.graph)},
              {"params_before", parameter_count(before.graph)},
              {"params_after", parameter_count(after.graph)},
              {"mask", report.mask},
              {"merge", after.notes.at("fold.merge")},
              {"max_kernel", std::stoi(after.notes.at("fold.max_kernel"))},
              {"plan", to_json(report)}});
  return 0;
}

}  // namespace pleat
