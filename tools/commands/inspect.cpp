// `pleat inspect MODEL` prints a model's graph, sizes, alphas and notes without running it.
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/escaped.hpp"
#include "tools/network_options.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

struct Row {
  int64_t params = 0, macs = 0;
  Nhwc shape;
};

// The sizes of every node. Parameters are counted as parameter_count counts them.
std::vector<Row> measure(const Graph& graph) {
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  std::vector<Row> rows(graph.nodes.size());
  for (const Parameter& p : parameters(graph))
    if (trainable(p.role) && p.role != Role::alpha) rows[p.node].params += num_elements(p.shape);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].shape = shapes[i];
    rows[i].macs = macs(graph, static_cast<int>(i), shapes);
  }
  return rows;
}

void print_table(std::ostream& out, const Graph& graph, const std::vector<Row>& rows) {
  out << "      output      params        MACs  node\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Nhwc& s = rows[i].shape;
    out << std::setw(12) << concat(s.h, 'x', s.w, 'x', s.c) << std::setw(12) << rows[i].params << std::setw(12)
        << rows[i].macs << "  " << to_text(graph, static_cast<int>(i)) << '\n';
  }
}

void print_numbers(std::ostream& out, const char* name, const std::vector<float>& numbers) {
  out << "  " << name;
  for (const float number : numbers) out << ' ' << number;
  out << '\n';
}

Json nodes_json(const Graph& graph, const std::vector<Row>& rows) {
  Json nodes = Json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Json inputs = Json::array();
    for (const int input : graph.nodes[i].inputs) inputs.push_back(graph.nodes[input].name);
    const Nhwc& s = rows[i].shape;
    nodes.push_back({{"name", graph.nodes[i].name},
                     {"kind", kind(graph.nodes[i].op)},
                     {"inputs", inputs},
                     {"shape", {s.h, s.w, s.c}},
                     {"params", rows[i].params},
                     {"macs", rows[i].macs}});
  }
  return nodes;
}

}  // namespace

int inspect_command(int argc, char** argv) {
  Cli cli("pleat inspect",
          "Prints a model's graph with shapes, parameters and MACs, its alphas, and where it comes from.",
          "pleat inspect resnet20\npleat inspect mobilenet_v2_1.0 --width 0.5 --input-size 160\npleat inspect "
          "run/model.safetensors --json");
  cli.argument("MODEL", "a name from `pleat list` or a model file");
  declare_network_options(cli);
  if (!cli.parse(argc, argv)) return 0;

  const Model model = open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli));
  const Graph& graph = model.graph;
  const std::vector<Row> rows = measure(graph);
  const Input& input = std::get<Input>(graph.nodes[0].op);
  Json alphas = Json::object();
  for (const Parameter& p : parameters(graph))
    if (p.role == Role::alpha) alphas[p.name] = model.tensors.at(p.name).values[0];

  std::ostream& out = cli.out();
  print_table(out, graph, rows);
  out << "\ndepth " << depth(graph) << ", " << conv_count(graph) << " convolutions, " << parameter_count(graph)
      << " parameters, " << macs(graph) << " MACs per picture\n";
  if (!alphas.empty()) out << "\nalphas\n";
  for (const auto& [name, value] : alphas.items()) out << "  " << name << "  " << value << '\n';
  out << "\ninput " << input.channels << 'x' << input.height << 'x' << input.width << ", (pixel/255 - mean) / std\n";
  print_numbers(out, "mean", model.mean);
  print_numbers(out, "std ", model.std);
  if (!model.notes.empty()) out << "\nprovenance\n";
  for (const auto& [name, value] : model.notes) out << "  " << escaped(name) << ": " << escaped(value) << '\n';

  cli.finish({{"depth", depth(graph)},
              {"convs", conv_count(graph)},
              {"macs", macs(graph)},
              {"params", parameter_count(graph)},
              {"alphas", alphas},
              {"input",
               {{"channels", input.channels},
                {"height", input.height},
                {"width", input.width},
                {"mean", model.mean},
                {"std", model.std},
                {"crop", model.crop},
                {"interpolation", to_string(model.interpolation)}}},
              {"classes", infer_shapes(graph).back().c},
              {"class_names", model.classes},
              {"provenance", model.notes},
              {"nodes", nodes_json(graph, rows)}});
  return 0;
}

}  // namespace pleat
