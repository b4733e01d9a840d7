// `pleat import FILE --model NAME --out F`: a PyTorch state_dict, saved as safetensors, becomes a model file. Networks
// of Pleat carry PyTorch's parameter names, so little has to be renamed.
#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <sstream>

#include "core/check.hpp"
#include "core/safetensors.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands.hpp"
#include "tools/open_model.hpp"

namespace pleat {
namespace {

// What wrappers put before every name (nn.DataParallel, torch.compile, saved training state).
constexpr std::array kPrefixes = {"module.", "_orig_mod.", "state_dict.", "model."};

std::string rename(std::string name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string prefix : kPrefixes)
      if (name.starts_with(prefix)) name.erase(0, prefix.size()), again = true;
  }
  return name;
}

// Renamed; PyTorch's step counters left out.
Tensors read_state_dict(const std::string& path) {
  Tensors result;
  for (auto& [name, tensor] : load_safetensors(path).tensors) {
    if (name.ends_with("num_batches_tracked")) continue;
    const bool fresh = result.emplace(rename(name), std::move(tensor)).second;
    PLEAT_CHECK_FILE(fresh, path, "two tensors are called '", rename(name), "' after renaming");
  }
  return result;
}

// Pads as TensorFlow's SAME does: output ceil(size / stride), the odd pixel at the bottom and on the right.
void use_same_padding(Graph& graph) {
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  for (Node& node : graph.nodes) {
    const auto same = [&](auto& op) {
      const Nhwc& x = shapes[node.inputs[0]];
      const auto total = [&](int64_t size) {
        return static_cast<int>(
            std::max<int64_t>(((size + op.stride - 1) / op.stride - 1) * op.stride + op.kernel - size, 0));
      };
      const int rows = total(x.h), columns = total(x.w);
      op.pad = {rows / 2, columns / 2, rows - rows / 2, columns - columns / 2};
    };
    std::visit(Overloaded{[&](Conv2d& op) { same(op); }, [&](DepthwiseConv2d& op) { same(op); },
                          [&](MaxPool2d& op) { same(op); }, [&](AvgPool2d& op) { same(op); }, [](Input&) {},
                          [](BatchNorm&) {}, [](AlphaAct&) {}, [](GlobalAvgPool&) {}, [](Flatten&) {}, [](Linear&) {},
                          [](Add&) {}, [](Shortcut&) {}},
               node.op);
  }
  PLEAT_CHECK(infer_shapes(graph) == shapes, "--padding same would change the shapes of this network");
}

// A checkpoint whose batch norms were folded into its convolutions has `conv.bias` instead of them: the batch norm
// becomes the identity plus that bias, and the network stays trainable.
void unfold_batch_norms(const Graph& graph, Tensors& given) {
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<BatchNorm>(node.op) || given.contains(node.name + ".weight")) continue;
    auto bias = given.extract(graph.nodes[node.inputs[0]].name + ".bias");
    if (bias.empty()) continue;
    const std::vector<int64_t> shape = bias.mapped().shape;
    given[node.name + ".weight"] = Tensor(shape, 1);
    given[node.name + ".running_mean"] = Tensor(shape, 0);
    given[node.name + ".running_var"] = Tensor(shape, static_cast<float>(1 - std::get<BatchNorm>(node.op).eps));
    given[node.name + ".bias"] = std::move(bias.mapped());
  }
}

// Moves the model's parameters out of `given`, which keeps what nothing asked for; returns how many were found.
int fill(Model& model, Tensors& given, const std::string& path, const std::string& model_name) {
  int found = 0;
  std::vector<std::string> missing;
  for (const Parameter& p : parameters(model.graph)) {
    auto entry = given.extract(p.name);
    if (entry.empty()) {
      if (p.role == Role::alpha)
        model.tensors[p.name] = Tensor(p.shape, 0);
      else
        missing.push_back(p.name);
      continue;
    }
    PLEAT_CHECK_FILE(entry.mapped().shape == p.shape, path, "tensor '", p.name, "' has shape ",
                     to_string(entry.mapped().shape), ", but ", model_name, " needs ", to_string(p.shape));
    model.tensors[p.name] = std::move(entry.mapped());
    ++found;
  }
  PLEAT_CHECK_FILE(missing.empty(), path, missing.size(), " tensors that ", model_name, " needs are missing, '",
                   missing.front(), "' first\nhint: is --model right? See `pleat inspect ", model_name, "`");
  return found;
}

std::vector<float> read_numbers(const Cli& cli, const std::string& option) {
  std::vector<float> numbers;
  std::istringstream parts(cli.text(option));
  for (std::string part; std::getline(parts, part, ',');) {
    float number;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc{} || end != part.data() + part.size())
      cli.usage_error(concat("--", option, " ", cli.text(option), ": expected numbers with commas between"));
    numbers.push_back(number);
  }
  return numbers;
}

void set_normalisation(Model& model, const Cli& cli) {
  const std::string& name = cli.text("normalisation");
  if (name == "imagenet") {
    model.mean = {0.485f, 0.456f, 0.406f};
    model.std = {0.229f, 0.224f, 0.225f};
  } else if (name == "tensorflow") {
    model.mean = model.std = {0.5f, 0.5f, 0.5f};
  } else {
    model.mean = dataset_info(name).mean;
    model.std = dataset_info(name).std;
  }
  if (cli.has("mean")) model.mean = read_numbers(cli, "mean");
  if (cli.has("std")) model.std = read_numbers(cli, "std");
}

// One a line, as in CIFAR-10's batches.meta.txt.
std::vector<std::string> read_class_names(const std::string& path) {
  std::ifstream file(path);
  PLEAT_CHECK_FILE(file, path, "cannot be read");
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) names.push_back(line);
  return names;
}

}  // namespace

int import_command(int argc, char** argv) {
  Cli cli("pleat import",
          "Turns a PyTorch state_dict, saved as safetensors (tools/torch_to_safetensors.py), into a model.",
          "pleat import resnet20_state.safetensors --model resnet20 --out resnet20.safetensors\n"
          "pleat import mobilenet.safetensors --model mobilenet_v2_1.0 --padding same --normalisation tensorflow --out "
          "m.safetensors");
  cli.argument("FILE", "safetensors file with the state_dict");
  cli.option("model", "NAME", "the network, a name of `pleat list`");
  cli.option("out", "FILE", "model file to write");
  cli.option("normalisation", "NAME", "of the input: imagenet, tensorflow (-1 to 1) or a data set's", "imagenet");
  cli.option("mean", "A,B,C", "input normalisation in numbers: x = (pixel/255 - mean) / std");
  cli.option("std", "A,B,C", "see --mean");
  cli.option("padding", "torch|same", "same: TensorFlow's SAME, asymmetric where the stride is 2", "torch");
  cli.option("classes", "N", "outputs of the network, where they are not the usual ones");
  cli.option("class-names", "FILE", "text file with the names of the classes, one a line");
  if (!cli.parse(argc, argv)) return 0;
  const std::string &path = cli.argument("FILE"), &name = cli.text("model"), &out = cli.text("out");
  const bool same = cli.choice("padding", {"torch", "same"}) == "same";

  DatasetInfo data = usual_dataset(name);
  if (cli.has("classes")) data.classes = static_cast<int>(cli.integer("classes", 1, 1 << 20));
  Model model = named_model(name, data, cli.seed());
  if (same) use_same_padding(model.graph);
  set_normalisation(model, cli);
  if (cli.has("class-names")) model.classes = read_class_names(cli.text("class-names"));
  Tensors given = read_state_dict(path);
  unfold_batch_norms(model.graph, given);
  const int found = fill(model, given, path, name);
  model.notes = {{"command", "import"},
                 {"model", name},
                 {"source", std::filesystem::path(path).filename().string()},
                 {"pleat", kVersion}};
  save_model(out, model);

  std::vector<std::string> unused;
  for (const auto& [tensor, value] : given) unused.push_back(tensor);
  cli.out() << found << " tensors of " << path << " -> " << out << '\n';
  if (!unused.empty()) cli.out() << unused.size() << " unused, '" << unused.front() << "' first\n";
  cli.finish({{"tensors", found}, {"unused", unused}, {"missing", nlohmann::ordered_json::array()}});
  return 0;
}

}  // namespace pleat
