// `pleat fold MODEL --out F`: drops activations, merges what is linear between the others, prints the plan.
#include <algorithm>
#include <ostream>

#include "core/check.hpp"
#include "fold/latency_plan.hpp"
#include "fold/fold.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/fold_report.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/plan_file.hpp"
#include "tools/measure/stopwatch.hpp"

namespace pleat {
namespace {

constexpr double kThreshold = 0.9;  // the paper's

FoldOptions read_options(const Cli& cli, const Model& model) {
  FoldOptions options;
  if (cli.has("mask") + cli.has("depth") + cli.has("threshold") > 1)
    cli.usage_error("--mask, --depth and --threshold: expected at most one of them");
  if (cli.has("mask"))
    options.mask = cli.text("mask");
  else if (cli.has("depth") && !cli.has("plan"))
    options.depth = static_cast<int>(cli.integer("depth", 1, 1 << 20));
  else if (cli.has("threshold"))
    options.threshold = cli.number("threshold", 0, 1);
  else if (!model.notes.contains("fold.mask") && !cli.has("plan"))
    options.threshold = kThreshold;
  const std::string& merge = cli.choice("merge", {"all", "cheaper", "latency", "none"});
  options.merge = merge == "all"       ? FoldOptions::Merge::all
                  : merge == "cheaper" ? FoldOptions::Merge::cheaper
                  : merge == "latency" ? FoldOptions::Merge::latency
                                       : FoldOptions::Merge::none;
  options.stopwatch = make_stopwatch(cli);
  if (cli.has("borders"))
    options.borders = cli.choice("borders", {"reorder", "exact"}) == "exact" ? Borders::exact : Borders::reorder;
  options.max_kernel = static_cast<int>(cli.integer("max-kernel", 1, 99));
  return options;
}

// The point of the plan that --point or --depth names, or the chosen one.
const PlanPoint& choose_point(const Cli& cli, const LatencyPlan& plan) {
  if (cli.has("point") && cli.has("depth")) cli.usage_error("--point and --depth: expected at most one of them");
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
  PLEAT_CHECK(best != plan.points.end(), cli.text("plan"), ": has no point of depth ", depth);
  return *best;
}

Folded fold_by_plan(const Cli& cli, const Model& model, const FoldOptions& options) {
  if (options.mask || options.threshold)
    cli.usage_error("--plan says what to drop: expected neither --mask nor --threshold");
  if (options.merge != FoldOptions::Merge::all && options.merge != FoldOptions::Merge::none)
    cli.usage_error("--plan says what to merge: expected --merge all (all of that) or none");
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
      "Drops activations and merges each linear group between the others into one convolution, exactly, borders "
      "included; "
      "or makes the network ready for fine-tuning first.",
      "pleat fold prefold.safetensors --merge none --out folded.safetensors   # then fine-tune it\n"
      "pleat fold finetuned.safetensors --out merged.safetensors              # exactly the same function\n"
      "pleat fold prefold.safetensors --borders exact --out merged.safetensors  # the same, without training\n"
      "pleat fold net.safetensors --plan plan.json --merge none --out folded.safetensors   # as `pleat plan` chose\n"
      "pleat fold resnet20 --mask '#..#.#.#.#..#..#.#.' --out merged.safetensors");
  cli.argument("MODEL", "a name of `pleat list` or a file");
  cli.option("out", "FILE", "model file to write");
  cli.option(
      "threshold", "X",
      "drop activations with alpha >= X; without any of these three: 0.9, or none if the model was folded before");
  cli.option("mask", "MASK", "one character for each foldable activation, in order: # keeps, . drops");
  cli.option("depth", "N", "drop the largest alphas until the depth, activations left + 1, is N");
  cli.option("plan", "FILE", "drop and merge as `pleat plan` found: its chosen point, or the best of --depth");
  cli.option("point", "N", "this point of the plan");
  cli.option("merge", "HOW",
             "all, cheaper (only where MACs do not grow), latency (only where this CPU is faster for it, measured) or "
             "none (for fine-tuning before the merge)",
             "all");
  cli.option("borders", "HOW",
             "exact (the same function as before, borders included) or reorder (padding moved to the first convolution "
             "of each group: no cost, but asks for fine-tuning); without: reorder with --merge none, else exact");
  cli.option("max-kernel", "N", "largest kernel that merging may make", "7");
  declare_stopwatch(cli, "20");
  declare_network_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("out");

  const Model before = open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli));
  const FoldOptions options = read_options(cli, before);
  if (cli.has("point") && !cli.has("plan")) cli.usage_error("--point is of a plan: expected --plan");
  const auto [after, plan] = cli.has("plan") ? fold_by_plan(cli, before, options) : fold(before, options);
  save_model(file, after);

  std::ostream& out = cli.out();
  print_plan(out, plan);
  const auto change = [&](const char* what, auto a, auto b) { out << what << ' ' << a << " -> " << b; };
  change("\ndepth", depth(before.graph), depth(after.graph));
  change(", convolutions", conv_count(before.graph), conv_count(after.graph));
  change(", MACs", macs(before.graph), macs(after.graph));
  change(", parameters", parameter_count(before.graph), parameter_count(after.graph));
  out << "\nmask " << plan.mask << " -> " << file << '\n';
  cli.finish({{"depth_before", depth(before.graph)},
              {"depth_after", depth(after.graph)},
              {"convs_before", conv_count(before.graph)},
              {"convs_after", conv_count(after.graph)},
              {"macs_before", macs(before.graph)},
              {"macs_after", macs(after.graph)},
              {"params_before", parameter_count(before.graph)},
              {"params_after", parameter_count(after.graph)},
              {"mask", plan.mask},
              {"plan", to_json(plan)}});
  return 0;
}

}  // namespace pleat
