// `pleat import FILE --model NAME --out F`: a PyTorch state_dict, saved as safetensors, becomes a model file.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <ostream>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/first_few.hpp"
#include "models/models.hpp"
#include "models/padding_style.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/load_state_dict.hpp"
#include "tools/network_options.hpp"
#include "tools/picture_options.hpp"

namespace pleat {
namespace {

// None if the option was not given.
std::vector<float> read_numbers(const Cli& cli, const std::string& option) {
  std::vector<float> numbers;
  if (!cli.has(option)) return numbers;
  for (const std::string& part : cli.list(option)) {
    float number;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc{} || end != part.data() + part.size())
      cli.usage_error(concat("--", option, " ", cli.text(option), ": expected numbers with commas between"));
    numbers.push_back(number);
  }
  // Means and deviations of pixels from 0 to 1 are below 1.
  const auto large = std::find_if(numbers.begin(), numbers.end(), [](float number) { return number > 1; });
  if (large != numbers.end()) {
    std::string scaled;
    for (const float number : numbers)
      scaled += concat(scaled.empty() ? "" : ",", std::round(number / 255 * 1e4) / 1e4);
    throw UsageError(concat("--", option, " ", cli.text(option), ": ", *large,
                            " is of pixels from 0 to 255, expected of pixels from 0 to 1\nhint: --", option, " ",
                            scaled));
  }
  return numbers;
}

NameOptions name_options(const Cli& cli) {
  NameOptions options{{}, cli.has("prefix") ? cli.text("prefix") : ""};
  for (const std::string& pair : cli.list("rename")) {
    const std::size_t sign = pair.find('=');
    if (sign == std::string::npos || sign == 0) cli.usage_error(concat("--rename ", pair, ": expected FROM=TO"));
    const auto without_dots = [](std::string text) {
      while (text.ends_with('.')) text.pop_back();
      return text;
    };
    options.renames.emplace_back(without_dots(pair.substr(0, sign)), without_dots(pair.substr(sign + 1)));
  }
  return options;
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
    return;
  }
  std::string names;
  for (const Normalisation& n : kNormalisations) names += concat(n.name, ", ");
  const std::vector<std::string> sets = dataset_names();
  for (const std::string& set : sets) names += concat(set == sets.front() ? "" : ", ", set);
  if (std::find(sets.begin(), sets.end(), name) == sets.end() && !std::filesystem::is_directory(name))
    throw UsageError(concat("--normalisation ", name, ": expected one of ", names, ", or a data set's folder"));
  const DatasetInfo data = dataset_info(name);
  model.mean = data.mean;
  model.std = data.std;
}

// What --normalisation says, or else what suits the code base; one for CIFAR has several data sets.
std::string choose_normalisation(const Cli& cli, const StateDict& state, int classes) {
  if (cli.has("normalisation")) return cli.text("normalisation");
  if (state.source.name.empty()) return "imagenet";
  return state.source.normalisation == "cifar10" && classes == 100 ? "cifar100" : state.source.normalisation;
}

void declare_options(Cli& cli) {
  cli.argument("FILE", "safetensors file with the state_dict");
  cli.option("model", "NAME", "the network, a name of `pleat list`");
  cli.option("out", "FILE", "model file to write");
  cli.option("normalisation", "NAME",
             "of the input: imagenet, tensorflow (-1 to 1), efficientnet-lite or a data set's (default: the usual one "
             "of the code base that the names are from)");
  cli.option("mean", "A,B,C", "input normalisation in numbers: x = (pixel/255 - mean) / std");
  cli.option("std", "A,B,C", "see --mean");
  cli.option("eps", "X",
             "what batch norms add to the variance (default: the network's own, 1e-5 or, EfficientNet-lite's, 1e-3)");
  cli.option("prefix", "NAME", "take only what stands below it, such as student. (default: what makes the names fit)");
  cli.option("rename", "FROM=TO,...",
             "parts of names, between dots, that are called otherwise here, such as fc=linear");
  cli.option("ignore", "PATTERN,...",
             "names, as in the file and with * and ?, of tensors that the network does not need (default: none; step "
             "counters, averages of weights and the optimiser's state are left out anyway)");
  cli.option("padding", "torch|same",
             "torch: symmetric; same: TensorFlow's SAME, asymmetric where the stride is 2 (default: the network's own, "
             "same for EfficientNet-lite)");
  declare_view_options(cli);
  declare_network_options(cli);
  cli.option("class-names", "FILE",
             "text file with the names of the classes, one a line; those of an ImageNet folder's class folders make it "
             "score on any of them");
}

// What the weights will be loaded into. `padding`, `eps` and `normalisation` are told to the user, because the names of
// the tensors do not settle them.
struct Network {
  Model model;
  std::string padding, normalisation;
  double eps = 0;
};

// Gives the batch norms the eps that was asked for, and returns the last one's.
double set_eps(Graph& graph, const Cli& cli) {
  double eps = 0;
  for (Node& node : graph.nodes)
    if (std::holds_alternative<BatchNorm>(node.op)) {
      auto& norm = std::get<BatchNorm>(node.op);
      if (cli.has("eps")) norm.eps = cli.number("eps", 0, 1);
      eps = norm.eps;
    }
  return eps;
}

// The network called `name` for the pictures that it usually gets, or those that were asked for.
Graph make_graph(const std::string& name, const DatasetInfo& data, const NetworkOptions& options, bool projection) {
  return make_model(name, {data.channels, data.height, data.width}, data.classes,
                    ModelOptions{.projection = projection, .width = options.width});
}

Network make_network(const Cli& cli, const std::string& name, const StateDict& state, const NetworkOptions& options,
                     const DatasetInfo& data) {
  Network network;
  Model& model = network.model;
  model.graph = make_graph(name, data, options, has_projections(name, state.tensors));
  network.padding = name.starts_with("efficientnet") ? "same" : "torch";
  if (cli.has("padding")) {
    network.padding = cli.choice("padding", {"torch", "same"});
    set_padding(model.graph, network.padding == "same" ? PaddingStyle::same : PaddingStyle::symmetric);
  }
  network.eps = set_eps(model.graph, cli);
  network.normalisation = choose_normalisation(cli, state, data.classes);
  set_normalisation(model, network.normalisation);
  model.crop = usual_crop(std::get<Input>(model.graph.nodes.at(0).op));
  model.interpolation = state.source.interpolation;
  set_view(cli, model);
  return network;
}

std::vector<std::string> parameter_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters(graph)) names.push_back(parameter.name);
  return names;
}

// What was read, and what was assumed about it.
void describe(std::ostream& prose, const StateDict& state, const LoadedStateDict& loaded, const Network& network) {
  const Model& model = network.model;
  prose << "\nassumed: names of " << (state.source.name.empty() ? "Pleat" : state.source.name);
  if (!state.prefix.empty()) prose << " below '" << state.prefix << "'";
  prose << ", padding " << network.padding << ", eps " << network.eps << ", input normalised as "
        << network.normalisation << ", scaled " << to_string(model.interpolation) << ", crop " << model.crop << '\n';
  if (!state.source.alternative.empty()) prose << "if that is wrong: " << state.source.alternative << '\n';
  if (loaded.has_alphas) prose << "its alphas are taken as those of folding\n";
  for (const std::string& tensor : loaded.unused) prose << "ignored: " << tensor << '\n';
  if (!state.copies.empty())
    prose << state.copies.size() << " counters and copies left out: " << first_few(state.copies) << '\n';
}

}  // namespace

int import_command(int argc, char** argv) {
  Cli cli(
      "pleat import",
      "Turns a PyTorch state_dict, saved as safetensors (tools/torch_to_safetensors.py), into a model. Names may be "
      "those of akamaster/pytorch_resnet_cifar10, chenyaofo/pytorch-cifar-models, torchvision, timm, "
      "EfficientNet-PyTorch or the authors of layer folding.",
      "pleat import resnet20_state.safetensors --model resnet20 --out resnet20.safetensors\n"
      "pleat import mobilenet.safetensors --model mobilenet_v2_1.0 --padding same --normalisation tensorflow --out "
      "m.safetensors\n"
      "pleat import student.safetensors --model resnet20 --prefix student --rename fc=linear --ignore 'student.aux.*' "
      "--out m.safetensors");
  declare_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const std::string &path = cli.argument("FILE"), &name = cli.text("model"), &out = cli.text("out");
  const std::vector<float> mean = read_numbers(cli, "mean"), std = read_numbers(cli, "std");
  if (cli.has("padding")) cli.choice("padding", {"torch", "same"});
  if (cli.has("eps")) cli.number("eps", 0, 1);
  const NetworkOptions options = network_options(cli);

  const DatasetInfo data = resized(usual_dataset(name), options);

  StateDict state =
      read_state_dict(path, name, parameter_names(make_graph(name, data, options, false)), name_options(cli));
  Network network = make_network(cli, name, state, options, data);
  Model& model = network.model;
  if (!mean.empty()) model.mean = mean;
  if (!std.empty()) model.std = std;
  if (cli.has("class-names")) model.classes = read_lines(cli.text("class-names"));
  const LoadedStateDict loaded = load_state_dict(model, state, path, name, cli.list("ignore"));
  model.notes = {{"command", "import"},
                 {"model", name},
                 {"source", std::filesystem::path(path).filename().string()},
                 {"names", state.source.name},
                 {"pleat", kVersion}};
  save_model(out, model);

  const std::size_t found = state.names.size() - loaded.unused.size();
  cli.out() << found << " tensors of " << path << " -> " << out;
  describe(cli.out(), state, loaded, network);
  cli.finish({{"tensors", found},
              {"unused", loaded.unused},
              {"copies", state.copies},
              {"missing", nlohmann::ordered_json::array()},
              {"names", state.source.name},
              {"prefix", state.prefix},
              {"padding", network.padding},
              {"eps", network.eps},
              {"normalisation", network.normalisation},
              {"alternative", state.source.alternative},
              {"crop", model.crop},
              {"interpolation", to_string(model.interpolation)}});
  return 0;
}

}  // namespace pleat
