// `pleat import FILE --model NAME --out F`: a PyTorch state_dict, saved as safetensors, becomes a model file.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <ostream>
#include <set>
#include <sstream>

#include "core/check.hpp"
#include "core/file.hpp"
#include "models/models.hpp"
#include "models/padding_style.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/network_options.hpp"
#include "tools/picture_options.hpp"
#include "tools/state_dict.hpp"

namespace pleat {
namespace {

// A checkpoint whose batch norms were folded into its convolutions has `conv.bias` instead of them: the batch norm
// becomes the identity, plus that bias unless the convolution has one of its own, and the network stays trainable.
void unfold_batch_norms(const Graph& graph, Tensors& given) {
  std::set<std::string> wanted;
  for (const Parameter& p : parameters(graph)) wanted.insert(p.name);
  for (const Node& node : graph.nodes) {
    const auto has = [&](const char* suffix) { return given.contains(node.name + suffix); };
    if (!std::holds_alternative<BatchNorm>(node.op) || has(".weight") || has(".bias") || has(".running_mean") ||
        has(".running_var"))
      continue;
    const std::string name = graph.nodes[node.inputs[0]].name + ".bias";
    const auto bias = given.find(name);
    if (bias == given.end()) continue;
    const std::vector<int64_t> shape = bias->second.shape;
    given[node.name + ".bias"] = Tensor(shape, 0);
    if (!wanted.contains(name)) std::swap(given[node.name + ".bias"], given.extract(bias).mapped());
    given[node.name + ".weight"] = Tensor(shape, 1);
    given[node.name + ".running_mean"] = Tensor(shape, 0);
    given[node.name + ".running_var"] = Tensor(shape, static_cast<float>(1 - std::get<BatchNorm>(node.op).eps));
  }
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Moves the model's parameters out of `state`; returns the file's names of what nothing asked for.
std::vector<std::string> fill(Model& model, StateDict& state, const std::string& path, const std::string& model_name) {
  const auto file_name = [&](const std::string& name) {
    const auto at = state.names.find(name);
    return at == state.names.end() || at->second == name ? name : concat(at->second, " (", name, ')');
  };
  int found = 0;
  std::vector<std::string> missing, unused;
  for (const Parameter& p : parameters(model.graph)) {
    auto entry = state.tensors.extract(p.name);
    if (!entry.empty()) {
      PLEAT_CHECK_FILE(entry.mapped().shape == p.shape, path, "tensor ", file_name(p.name), " has shape ",
                       to_string(entry.mapped().shape), ", but ", model_name, " needs ", to_string(p.shape));
      model.tensors[p.name] = std::move(entry.mapped());
      ++found;
    } else if (p.role == Role::alpha) {
      model.tensors[p.name] = Tensor(p.shape, 0);
    } else {
      missing.push_back(p.name);
    }
  }
  for (const auto& [name, tensor] : state.tensors) unused.push_back(state.names.at(name));
  PLEAT_CHECK_FILE(found > 0, path, "none of its ", unused.size(), " tensors is one of ", model_name,
                   "'s\nhint: see `pleat inspect ", model_name, '`');
  PLEAT_CHECK_FILE(missing.empty(), path, missing.size(), " tensors that ", model_name,
                   " needs are missing: ", joined(missing), unused.empty() ? "" : "; unused: ", joined(unused),
                   "\nhint: is --model right? See `pleat inspect ", model_name, '`');
  return unused;
}

// None if the option was not given.
std::vector<float> read_numbers(const Cli& cli, const std::string& option) {
  std::vector<float> numbers;
  if (!cli.has(option)) return numbers;
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

// Skips with weights: those of a ResNet that has option B.
bool has_projections(const std::string& model, const Tensors& tensors) {
  return model.starts_with("resnet") && std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
           return tensor.first.ends_with(".shortcut.0.weight");
         });
}

struct Normalisation {
  const char* name;
  float mean[3], std[3];
};
constexpr Normalisation kNormalisations[] = {
    {"imagenet", {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}},
    {"tensorflow", {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}},
    {"efficientnet-lite", {127 / 255.f, 127 / 255.f, 127 / 255.f}, {128 / 255.f, 128 / 255.f, 128 / 255.f}},
};

// The one called `name`, or a data set's.
void set_normalisation(Model& model, const std::string& name) {
  const auto* const known = std::find_if(std::begin(kNormalisations), std::end(kNormalisations),
                                         [&](const Normalisation& n) { return n.name == name; });
  if (known != std::end(kNormalisations)) {
    model.mean.assign(std::begin(known->mean), std::end(known->mean));
    model.std.assign(std::begin(known->std), std::end(known->std));
  } else {
    const DatasetInfo data = dataset_info(name);
    model.mean = data.mean;
    model.std = data.std;
  }
}

// What --normalisation says, or else what suits the code base; one for CIFAR has several data sets.
std::string choose_normalisation(const Cli& cli, const StateDict& state, int classes) {
  if (cli.has("normalisation")) return cli.text("normalisation");
  if (state.source.empty()) return "imagenet";
  return state.normalisation == "cifar10" && classes == 100 ? "cifar100" : state.normalisation;
}

}  // namespace

int import_command(int argc, char** argv) {
  Cli cli(
      "pleat import",
      "Turns a PyTorch state_dict, saved as safetensors (tools/torch_to_safetensors.py), into a model. Names may be "
      "those of akamaster/pytorch_resnet_cifar10, chenyaofo/pytorch-cifar-models, torchvision, timm or "
      "EfficientNet-PyTorch.",
      "pleat import resnet20_state.safetensors --model resnet20 --out resnet20.safetensors\n"
      "pleat import mobilenet.safetensors --model mobilenet_v2_1.0 --padding same --normalisation tensorflow --out "
      "m.safetensors");
  cli.argument("FILE", "safetensors file with the state_dict");
  cli.option("model", "NAME", "the network, a name of `pleat list`");
  cli.option("out", "FILE", "model file to write");
  cli.option("normalisation", "NAME",
             "of the input: imagenet, tensorflow (-1 to 1), efficientnet-lite or a data set's (default: the usual one "
             "of the code base that the names are from)");
  cli.option("mean", "A,B,C", "input normalisation in numbers: x = (pixel/255 - mean) / std");
  cli.option("std", "A,B,C", "see --mean");
  cli.option("padding", "torch|same",
             "torch: symmetric; same: TensorFlow's SAME, asymmetric where the stride is 2 (default: the network's own, "
             "same for EfficientNet-lite)");
  declare_view_options(cli);
  declare_network_options(cli);
  cli.option("class-names", "FILE",
             "text file with the names of the classes, one a line; those of an ImageNet folder's class folders make it "
             "score on any of them");
  if (!cli.parse(argc, argv)) return 0;
  const std::string &path = cli.argument("FILE"), &name = cli.text("model"), &out = cli.text("out");
  const bool same = cli.has("padding") && cli.choice("padding", {"torch", "same"}) == "same";

  const std::vector<float> mean = read_numbers(cli, "mean"), std = read_numbers(cli, "std");

  const NetworkOptions options = network_options(cli);
  const DatasetInfo data = resized(usual_dataset(name), options);
  const Input input{data.channels, data.height, data.width};
  ModelOptions choices{.width = options.width};
  Model model;
  model.graph = make_model(name, input, data.classes, choices);
  StateDict state = read_state_dict(path, name);
  choices.projection = has_projections(name, state.tensors);
  if (choices.projection) model.graph = make_model(name, input, data.classes, choices);
  if (cli.has("padding")) set_padding(model.graph, same ? PaddingStyle::same : PaddingStyle::symmetric);
  const std::string normalisation = choose_normalisation(cli, state, data.classes);
  set_normalisation(model, normalisation);
  model.crop = usual_crop(input);
  model.interpolation = state.interpolation;
  set_view(cli, model);
  if (!mean.empty()) model.mean = mean;
  if (!std.empty()) model.std = std;
  if (cli.has("class-names")) model.classes = read_lines(cli.text("class-names"));
  unfold_batch_norms(model.graph, state.tensors);
  const std::vector<std::string> unused = fill(model, state, path, name);
  model.notes = {{"command", "import"},
                 {"model", name},
                 {"source", std::filesystem::path(path).filename().string()},
                 {"names", state.source},
                 {"pleat", kVersion}};
  save_model(out, model);

  const std::size_t found = state.names.size() - unused.size();
  cli.out() << found << " tensors of " << path << " -> " << out << "\nnames of "
            << (state.source.empty() ? "Pleat" : state.source) << ", input normalised as " << normalisation << '\n';
  for (const std::string& tensor : unused) cli.out() << "unused: " << tensor << '\n';
  cli.finish({{"tensors", found},
              {"unused", unused},
              {"missing", nlohmann::ordered_json::array()},
              {"names", state.source},
              {"normalisation", normalisation},
              {"crop", model.crop},
              {"interpolation", to_string(model.interpolation)}});
  return 0;
}

}  // namespace pleat
