// `pleat fold MODEL --out F`: drops activations, merges what is linear between the others, prints the plan.
#include <array>
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "fold/plan.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands.hpp"
#include "tools/network_options.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kThreshold = 0.9;  // the paper's

FoldOptions read_options(const Cli& cli, const Model& model) {
  FoldOptions options;
  if (cli.has("mask") + cli.has("depth") + cli.has("threshold") > 1)
    cli.usage_error("--mask, --depth and --threshold: expected at most one of them");
  if (cli.has("mask"))
    options.mask = cli.text("mask");
  else if (cli.has("depth"))
    options.depth = static_cast<int>(cli.integer("depth", 1, 1 << 20));
  else if (cli.has("threshold"))
    options.threshold = cli.number("threshold", 0, 1);
  else if (!model.notes.contains("fold.mask"))
    options.threshold = kThreshold;
  const std::string& merge = cli.choice("merge", {"all", "cheaper", "none"});
  options.merge = merge == "all"       ? FoldOptions::Merge::all
                  : merge == "cheaper" ? FoldOptions::Merge::cheaper
                                       : FoldOptions::Merge::none;
  if (cli.has("borders"))
    options.borders = cli.choice("borders", {"reorder", "exact"}) == "exact" ? Borders::exact : Borders::reorder;
  options.max_kernel = static_cast<int>(cli.integer("max-kernel", 1, 99));
  return options;
}

// "3+3 -> 5"
std::string kernel_text(const GroupRow& group) {
  std::string text;
  for (const int side : group.kernels) text += concat(text.empty() ? "" : "+", side);
  return concat(text, " -> ", group.kernel);
}

constexpr std::array kBorderText = {"", "; padding moved", "; border biases", "; border kernels"};

// Widths of the table's columns of text.
struct Columns {
  explicit Columns(const FoldPlan& plan) {
    const auto widen = [](int& width, const std::string& text) {
      width = std::max(width, static_cast<int>(text.size()));
    };
    for (const ActivationRow& row : plan.activations) widen(activation, row.alpha);
    for (const GroupRow& row : plan.groups) widen(group, row.op), widen(kernels, kernel_text(row));
  }
  int activation = 10, group = 5, kernels = 7;
};

void print_group(std::ostream& out, const Columns& columns, const GroupRow& group, const std::string& stop) {
  out << std::left << std::setw(columns.group + 2) << group.op << std::setw(columns.kernels) << kernel_text(group)
      << std::right << std::setw(13) << group.macs_before << std::setw(12) << group.macs_after
      << (stop.empty() ? "" : "  ") << stop << '\n';
}

void print_plan(std::ostream& out, const FoldPlan& plan) {
  const Columns columns(plan);
  out << std::left << std::setw(columns.activation) << "activation"
      << "  alpha  fate     " << std::setw(columns.group + 2) << "group" << std::setw(columns.kernels) << "kernels"
      << "  MACs before       after  ends at\n";
  std::vector<bool> shown(plan.groups.size());
  for (const ActivationRow& row : plan.activations) {
    out << std::left << std::setw(columns.activation) << row.alpha << std::right << std::fixed << std::setprecision(3)
        << std::setw(7) << row.value << (row.kept ? "  kept" : "  dropped  ");
    if (row.kept) {
      out << '\n';
    } else if (row.group < 0) {
      out << "none: " << row.stop << '\n';
    } else {
      const GroupRow& group = plan.groups[row.group];
      print_group(out, columns, group, group.stop + kBorderText[static_cast<int>(group.border)]);
      shown[row.group] = true;
    }
  }
  // Groups without a dropped activation: batch norms, mostly.
  for (std::size_t g = 0, first = 1; g < plan.groups.size(); ++g) {
    if (shown[g]) continue;
    if (first) out << "\nwithout a dropped activation between them\n";
    first = 0;
    out << "  ";
    print_group(out, columns, plan.groups[g], "");
  }
  out.unsetf(std::ios::fixed);
}

Json plan_json(const FoldPlan& plan) {
  Json activations = Json::array(), groups = Json::array();
  for (const ActivationRow& row : plan.activations)
    activations.push_back({{"alpha", row.alpha},
                           {"value", row.value},
                           {"kept", row.kept},
                           {"group", row.group >= 0 ? Json(plan.groups[row.group].op) : Json()},
                           {"stop", row.stop}});
  for (const GroupRow& group : plan.groups)
    groups.push_back({{"op", group.op},
                      {"from", group.from},
                      {"to", group.to},
                      {"kernels", group.kernels},
                      {"kernel", group.kernel},
                      {"macs_before", group.macs_before},
                      {"macs_after", group.macs_after},
                      {"border", name(group.border)},
                      {"stop", group.stop}});
  return {{"activations", activations}, {"groups", groups}};
}

}  // namespace

int fold_command(int argc, char** argv) {
  Cli cli("pleat fold",
          "Drops activations and merges each linear group between the others into one convolution, exactly, borders "
          "included; "
          "or makes the network ready for fine-tuning first.",
          "pleat fold prefold.safetensors --merge none --out folded.safetensors   # then fine-tune it\n"
          "pleat fold finetuned.safetensors --out merged.safetensors              # exactly the same function\n"
          "pleat fold prefold.safetensors --borders exact --out merged.safetensors  # the same, without training\n"
          "pleat fold resnet20 --mask '#..#.#.#.#..#..#.#.' --out merged.safetensors");
  cli.argument("MODEL", "a name of `pleat list` or a file");
  cli.option("out", "FILE", "model file to write");
  cli.option(
      "threshold", "X",
      "drop activations with alpha >= X; without any of these three: 0.9, or none if the model was folded before");
  cli.option("mask", "MASK", "one character for each foldable activation, in order: # keeps, . drops");
  cli.option("depth", "N", "drop the largest alphas until the depth, activations left + 1, is N");
  cli.option("merge", "HOW", "all, cheaper (only where MACs do not grow) or none (for fine-tuning before the merge)",
             "all");
  cli.option("borders", "HOW",
             "exact (the same function as before, borders included) or reorder (padding moved to the first convolution "
             "of each group: no cost, but asks for fine-tuning); without: reorder with --merge none, else exact");
  cli.option("max-kernel", "N", "largest kernel that merging may make", "7");
  declare_network_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("out");

  const Model before = open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli));
  const auto [after, plan] = fold(before, read_options(cli, before));
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
              {"plan", plan_json(plan)}});
  return 0;
}

}  // namespace pleat
