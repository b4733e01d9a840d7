#include <algorithm>

#include "core/check.hpp"
#include "fold/mask.hpp"
#include "ops/spec.hpp"
#include "tools/report/chart.hpp"
#include "tools/report/html.hpp"
#include "tools/report/network_picture.hpp"
#include "tools/report/provenance.hpp"
#include "tools/report/sections.hpp"

namespace pleat {
namespace {

std::string sizes(const Graph& graph, const Graph* before) {
  const auto row = [&](const char* name, auto size) {
    const std::string after = count_text(static_cast<double>(size(graph)));
    return std::pair<std::string, std::string>(
        name, before == nullptr ? after : change(count_text(static_cast<double>(size(*before))), after));
  };
  const Input& input = std::get<Input>(graph.nodes[0].op);
  return facts({row("depth: remaining activations + 1", [](const Graph& g) { return depth(g); }),
                row("convolutions", [](const Graph& g) { return conv_count(g); }),
                row("multiply-accumulates a picture", [](const Graph& g) { return macs(g); }),
                row("parameters", [](const Graph& g) { return parameter_count(g); }),
                {"input", concat(input.channels, " × ", input.height, " × ", input.width)},
                {"outputs", concat(infer_shapes(graph).back().c)}});
}

std::string alphas(const Model& model) {
  const std::vector<Foldable> activations = foldable_activations(model);
  if (std::ranges::none_of(activations, [](const Foldable& f) { return f.value > 0; })) return "";
  Chart chart{.title = "Alphas of the activations that are left, in network order",
              .x_label = "activation",
              .y_label = "alpha",
              .series = {{.name = "alpha", .points = {}, .look = Series::Look::points}},
              .y_from_zero = true};
  for (const Foldable& activation : activations) {
    Series& series = chart.series[0];
    series.points.emplace_back(static_cast<double>(series.points.size() + 1), activation.value);
    series.labels.push_back(concat(activation.alpha, ": ", activation.value));
  }
  return draw(chart);
}

}  // namespace

std::string groups_table(const FoldedNetwork& network) {
  if (network.groups.empty()) return "";
  Table table({{"merged", true}, {"kernels", true}, {"kernel after"}, {"MACs before"}, {"MACs after"}});
  for (const FoldedNetwork::Group& group : network.groups) {
    std::string ops, kernels;
    for (const std::string& op : group.ops) ops += concat(ops.empty() ? "" : " + ", op);
    for (const int kernel : group.kernels) kernels += concat(kernels.empty() ? "" : " + ", kernel);
    table.row({html_text(ops), kernels, concat(group.kernel), count_text(static_cast<double>(group.macs_before)),
               count_text(static_cast<double>(group.macs_after))});
  }
  return table.html();
}

std::string model_section(const Model& model, const Model* before) {
  std::string html;
  const std::vector<std::string> commands = commands_of(model);
  if (!commands.empty()) html += "<h3>What was done</h3>\n";
  for (const std::string& command : commands) html += command_box(command);
  html += "<h3>Sizes</h3>\n" + sizes(model.graph, before == nullptr ? nullptr : &before->graph);
  if (const auto top1 = model.notes.find("top1"); top1 != model.notes.end())
    html += facts({{"top-1 on the test split when it was trained, 0 to 1", html_text(top1->second)}});
  html += alphas(model);
  if (before == nullptr) {
    html += "<h3>The network</h3>\n" + draw(FoldedNetwork{.before = model.graph, .dropped = {}, .groups = {}});
  } else {
    const FoldedNetwork folded = folded_into(*before, model.graph);
    html += "<h3>The network before and after</h3>\n" + draw(folded) + groups_table(folded);
  }
  std::vector<std::pair<std::string, std::string>> notes;
  for (const auto& [name, text] : model.notes) notes.emplace_back(html_text(name), html_text(text));
  if (!notes.empty()) html += details("all notes in the file", facts(notes));
  return html;
}

}  // namespace pleat
