// `pleat import`: the names of every code base it knows, what does not fit, batch norms folded before.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/safetensors.hpp"
#include "models/models.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/run.hpp"
#include "tests/temp_dir.hpp"
#include "tools/open_model.hpp"

using namespace pleat;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// Saves the network's weights under other names, imports them, and expects the network back.
Model import_as(const std::string& name, const Model& source,
                const std::function<std::string(const std::string&)>& rename, const std::string& origin,
                const std::string& options = "") {
  const TempDir dir;
  Tensors state;
  for (const Parameter& p : parameters(source.graph))
    if (p.role != Role::alpha) state[rename(p.name)] = source.tensors.at(p.name);
  REQUIRE(state.count("") == 0);
  save_safetensors(dir.path("state.safetensors"), state, {});
  const Result r =
      shell(dir, "\"$PLEAT\" import state.safetensors --model " + name + " --out m.safetensors --json " + options);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  Json json = r.json();
  CHECK(json["tensors"] == state.size());
  CHECK(json["unused"] == Json::array());
  CHECK(json["names"] == origin);
  Model model = load_model(dir.path("m.safetensors"));
  CHECK(model.tensors == source.tensors);
  return model;
}

std::string replaced(std::string text, const std::string& old_part, const std::string& new_part) {
  if (const std::size_t start = text.find(old_part); start != std::string::npos)
    text.replace(start, old_part.size(), new_part);
  return text;
}

// timm's name of a block's part: its blocks are numbered within stages, and the first has no expansion, which moves its
// batch norms. `parts` are ours, in order: expand, its norm, depthwise, its norm, project, its norm.
std::string timm_block(int block, const std::vector<int>& stages, const std::string& part,
                       const std::vector<std::string>& parts) {
  const std::vector<std::string> expanded = {"conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"};
  const std::vector<std::string> unexpanded = {"", "", "conv_dw", "bn1", "conv_pw", "bn2"};
  int stage = 0;
  for (; block >= stages[stage]; ++stage) block -= stages[stage];
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (part.starts_with(parts[i] + '.'))
      return concat("blocks.", stage, '.', block, '.', (stage == 0 ? unexpanded : expanded)[i],
                    part.substr(parts[i].size()));
  return "";
}

}  // namespace

TEST_CASE("import takes a state_dict by name and refuses one that does not fit") {
  const TempDir dir;
  const Model source = named_model("resnet20", dataset_info("cifar10"), 3);
  Tensors state;
  for (const auto& [name, tensor] : source.tensors)
    if (name.find("alpha") == std::string::npos) state["module." + name] = tensor;
  state["module.bn1.num_batches_tracked"] = Tensor({}, 5);
  state["module.extra.weight"] = Tensor({2}, 1);
  save_safetensors(dir.path("state.safetensors"), state, {});

  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --out n.safetensors"), 1,
                {"1 tensors are no part of resnet20: module.extra.weight", "--ignore PATTERN"});
  const Result good = shell(dir,
                            "\"$PLEAT\" import state.safetensors --model resnet20 --out m.safetensors --std "
                            "0.2,0.2,0.25 --ignore 'module.ex*' --json");
  CHECK(good.code == 0);
  CHECK(good.json()["tensors"] == state.size() - 2);
  CHECK(good.json()["unused"] == Json{"module.extra.weight"});
  CHECK(good.json()["missing"] == Json::array());
  CHECK(good.json()["copies"] == Json{"module.bn1.num_batches_tracked"});
  const Model model = load_model(dir.path("m.safetensors"));
  CHECK(model.tensors == source.tensors);
  CHECK(model.graph == source.graph);
  CHECK(model.mean == std::vector<float>{0.485f, 0.456f, 0.406f});
  CHECK(model.std == std::vector<float>{0.2f, 0.2f, 0.25f});

  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model resnet32 --out n.safetensors"), 1,
                {"60 tensors that resnet32 needs are missing: layer1.3.conv1.weight, ",
                 "and 55 more; 1 are unused: module.extra.weight\n"});
  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model mobilenet_v2_1.0 --out n.safetensors"), 1,
                {"none of its 98 tensors is one of mobilenet_v2_1.0's: it has ", " and 93 more\nhint: "});
  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --classes 100 --out n.safetensors"), 1,
                {"tensor module.linear.weight (linear.weight) has shape [10, 64], but resnet20 needs [100, 64]\nhint: ",
                 "--classes 10\n"});
  CHECK(!fs::exists(dir.path("n.safetensors")));
}

TEST_CASE("import: a checkpoint whose batch norms are folded computes the same, with bias where they were") {
  for (const std::string name : {"resnet20", "vgg16_bn"}) {
    CAPTURE(name);
    const TempDir dir;
    const Model source = open_model(name, 3);
    Tensors state;
    for (const Parameter& p : parameters(source.graph)) {
      if (p.role == Role::weight || p.role == Role::bias) state[p.name] = source.tensors.at(p.name);
      if (p.role != Role::norm_bias) continue;
      const std::string conv = source.graph.nodes[source.graph.nodes[p.node].inputs[0]].name;
      state[conv + ".bias"] = Tensor(p.shape, 0.25f);
    }
    save_safetensors(dir.path("state.safetensors"), state, {});
    const Result r = shell(dir, "\"$PLEAT\" import state.safetensors --model " + name + " --out m.safetensors --json");
    REQUIRE(r.code == 0);
    CHECK(r.json()["tensors"] == state.size());
    const Model model = load_model(dir.path("m.safetensors"));
    for (const Parameter& p : parameters(model.graph)) {
      const Tensor& tensor = model.tensors.at(p.name);
      const Node& node = model.graph.nodes[p.node];
      CAPTURE(p.name);
      if (p.role == Role::norm_weight) CHECK(tensor == Tensor(p.shape, 1));
      if (p.role == Role::running_mean) CHECK(tensor == Tensor(p.shape, 0));
      if (p.role == Role::running_var) CHECK(tensor.values[0] + 1e-5f == doctest::Approx(1));
      if (p.role != Role::norm_bias) continue;  // VGG's convolutions keep their own
      const auto conv_bias = model.tensors.find(model.graph.nodes[node.inputs[0]].name + ".bias");
      CHECK(tensor == Tensor(p.shape, name == "resnet20" ? 0.25f : 0.0f));
      CHECK((conv_bias != model.tensors.end()) == (name == "vgg16_bn"));
      if (conv_bias != model.tensors.end()) CHECK(conv_bias->second == Tensor(p.shape, 0.25f));
    }
  }
}

TEST_CASE("import: chenyaofo's ResNets have projections, other names and CIFAR's normalisation") {
  for (const int classes : {10, 100}) {
    const DatasetInfo& data = dataset_info(concat("cifar", classes));
    const Model source = named_model("resnet20", data, 3, {.projection = true});
    const auto rename = [](const std::string& name) {
      return replaced(replaced(name, ".shortcut.", ".downsample."), "linear.", "fc.");
    };
    const Model model =
        import_as("resnet20", source, rename, "chenyaofo/pytorch-cifar-models", concat("--classes ", classes));
    CHECK(model.graph == source.graph);
    CHECK(model.mean == data.mean);
    CHECK(model.std == data.std);
  }
}

TEST_CASE("import: names of chenyaofo and torchvision are Pleat's") {
  const auto same = [](const std::string& name) { return "state_dict.module." + name; };
  for (const std::string name : {"vgg16_bn", "mobilenet_v2_1.4_cifar"})
    CHECK(import_as(name, open_model(name, 3), same, "chenyaofo/pytorch-cifar-models").mean ==
          dataset_info("cifar10").mean);
  const Model source = open_model("mobilenet_v2_0.75", 3);
  const Model model = import_as("mobilenet_v2_0.75", source, same, "torchvision");
  CHECK(model.mean == std::vector<float>{0.485f, 0.456f, 0.406f});
  CHECK(model.graph == source.graph);
  const Model narrow = open_model("mobilenet_v2_1.0", 3, "", "", {.width = 0.35, .input_size = 96});
  CHECK(import_as("mobilenet_v2_1.0", narrow, same, "torchvision", "--width 0.35 --input-size 96").graph ==
        narrow.graph);
}

TEST_CASE("import: timm's MobileNetV2") {
  const auto rename = [](const std::string& name) -> std::string {
    for (const auto& [ours, timm] : {std::pair{"features.0.0.", "conv_stem."},
                                     {"features.0.1.", "bn1."},
                                     {"features.18.0.", "conv_head."},
                                     {"features.18.1.", "bn2."},
                                     {"classifier.1.", "classifier."}})
      if (name.starts_with(ours)) return replaced(name, ours, timm);
    const int block = std::stoi(name.substr(9));  // behind "features."
    const std::string part = name.substr(name.find(".conv.") + 6);
    return block == 1 ? timm_block(0, {1}, part, {"-", "-", "0.0", "0.1", "1", "2"})
                      : timm_block(block - 1, {1, 2, 3, 4, 3, 3, 1}, part, {"0.0", "0.1", "1.0", "1.1", "2", "3"});
  };
  const Model model = import_as("mobilenet_v2_0.75", open_model("mobilenet_v2_0.75", 3), rename, "timm");
  CHECK(model.interpolation == Interpolation::bicubic);
}

TEST_CASE("import: EfficientNet-lite of EfficientNet-PyTorch and of timm") {
  const Model source = open_model("efficientnet_lite1", 3);
  Model model = import_as(
      "efficientnet_lite1", source, [](const std::string& name) { return name; }, "EfficientNet-PyTorch");
  CHECK(model.graph == source.graph);
  CHECK(model.mean == std::vector<float>(3, 127 / 255.f));
  CHECK(model.std == std::vector<float>(3, 128 / 255.f));
  CHECK(model.interpolation == Interpolation::bicubic);
  CHECK(model.crop == 0.875);

  const auto rename = [](const std::string& name) -> std::string {
    for (const auto& [ours, timm] : {std::pair{"_conv_stem.", "conv_stem."},
                                     {"_bn0.", "bn1."},
                                     {"_conv_head.", "conv_head."},
                                     {"_bn1.", "bn2."},
                                     {"_fc.", "classifier."}})
      if (name.starts_with(ours)) return replaced(name, ours, timm);
    const std::size_t dot = name.find('.', 8);  // behind "_blocks."
    return timm_block(std::stoi(name.substr(8)), {1, 3, 3, 4, 4, 5, 1}, name.substr(dot + 1),
                      {"_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"});
  };
  model =
      import_as("efficientnet_lite1", source, rename, "timm", "--padding torch --resize 256 --interpolation bilinear");
  CHECK(model.interpolation == Interpolation::bilinear);
  CHECK(model.crop == 240 / 256.0);
  CHECK(model.mean == std::vector<float>(3, 0.5f));
  CHECK(to_text(model.graph, find(model.graph, "_blocks.4._depthwise_conv")).find("stride=2 pad=2 ") !=
        std::string::npos);
}

namespace {

// A ResNet's weights, by Pleat's names and without alphas.
Tensors resnet_state(const Model& source) {
  Tensors state;
  for (const Parameter& p : parameters(source.graph))
    if (p.role != Role::alpha) state[p.name] = source.tensors.at(p.name);
  return state;
}

// `pleat import` of the state as a resnet20.
Result import_state(const TempDir& dir, const Tensors& state, const std::string& options = "") {
  save_safetensors(dir.path("state.safetensors"), state, {});
  return shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --out m.safetensors --json " + options);
}

Tensors with_prefix(const Tensors& state, const std::string& prefix) {
  Tensors renamed;
  for (const auto& [name, tensor] : state) renamed[prefix + name] = tensor;
  return renamed;
}

}  // namespace

TEST_CASE("import: what wrappers put before the names is taken off where the rest fits") {
  const TempDir dir;
  const Model source = named_model("resnet20", dataset_info("cifar10"), 3);
  const Tensors state = resnet_state(source);
  for (const std::string prefix : {"net.", "backbone.", "state_dict.student.", "model.module.", "a.b.c."}) {
    CAPTURE(prefix);
    const Result r = import_state(dir, with_prefix(state, prefix));
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(load_model(dir.path("m.safetensors")).tensors == source.tensors);
  }
  // A head beside the body; an average of the weights beside them.
  Tensors parts = with_prefix(state, "backbone.");
  for (const char* name : {"linear.weight", "linear.bias"})
    parts[name] = std::move(parts.extract(std::string("backbone.") + name).mapped());
  for (const auto& [name, tensor] : state) parts["ema." + name] = Tensor(tensor.shape, 0);
  const Result r = import_state(dir, parts);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["copies"].size() == state.size());
  CHECK(load_model(dir.path("m.safetensors")).tensors == source.tensors);

  // Two networks in one file: which is meant must be said.
  Tensors two = with_prefix(state, "student.");
  for (const auto& [name, tensor] : state) two["teacher." + name] = Tensor(tensor.shape, 0);
  check_failure(import_state(dir, two), 1, {"more than one resnet20, below 'student.' and 'teacher.'", "--prefix"});
  REQUIRE(import_state(dir, two, "--prefix student").code == 0);
  CHECK(load_model(dir.path("m.safetensors")).tensors == source.tensors);
  check_failure(import_state(dir, two, "--prefix pupil"), 1, {"--prefix pupil: no tensor's name begins with it"});
}

TEST_CASE("import: parts of names are changed by --rename") {
  const TempDir dir;
  const Model source = named_model("resnet20", dataset_info("cifar10"), 3);
  Tensors state;
  for (const auto& [name, tensor] : resnet_state(source))
    state[replaced(replaced(name, "linear.", "head.out."), "layer2.", "stages.1.")] = tensor;
  check_failure(
      import_state(dir, state), 1,
      {"32 tensors that resnet20 needs are missing: layer2.0.conv1.weight, ", "32 are unused: head.out.bias, "});
  const Result r = import_state(dir, state, "--rename head.out=linear,stages.1.=layer2");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(load_model(dir.path("m.safetensors")).tensors == source.tensors);
  check_failure(import_state(dir, state, "--rename tail=linear"), 1, {"--rename tail=linear: no tensor has 'tail'"});
  check_failure(import_state(dir, state, "--rename tail"), 2, {"--rename tail: expected FROM=TO"});
}

TEST_CASE("import: alphas of folding's authors are taken, clipping bounds are refused") {
  const TempDir dir;
  Model source = named_model("resnet20", dataset_info("cifar10"), 3);
  Tensors state = resnet_state(source);
  float value = 0;
  for (const Parameter& p : parameters(source.graph))
    if (p.role == Role::alpha) {
      source.tensors.at(p.name).values[0] = value += 0.05f;
      state[p.name + ".alpha"] = source.tensors.at(p.name);
    }
  Result r = import_state(dir, state);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["names"] == "the authors of layer folding");
  CHECK(load_model(dir.path("m.safetensors")).tensors == source.tensors);

  state["layer2.0.alpha1.alpha"].values[0] = 6;
  check_failure(import_state(dir, state), 1,
                {"tensor layer2.0.alpha1.alpha (layer2.0.alpha1) is 6, expected 0 to 1", "clipping bound"});
  state.erase("layer2.0.alpha1.alpha");
  check_failure(import_state(dir, state), 1, {"has only 17 of resnet20's 18 alphas: layer2.0.alpha1 are missing"});
}

TEST_CASE("import: a convolution's bias before a batch norm goes into the running mean") {
  const TempDir dir;
  const Model source = named_model("resnet20", dataset_info("cifar10"), 3);
  Tensors state = resnet_state(source);
  Model expected = source;
  for (const Node& node : source.graph.nodes) {
    if (!std::holds_alternative<BatchNorm>(node.op)) continue;
    Tensor bias(state.at(node.name + ".bias").shape, 0.75f);
    Tensor &given = state.at(node.name + ".running_mean"), &wanted = expected.tensors.at(node.name + ".running_mean");
    for (float& mean : given.values) mean = 2;
    for (float& mean : wanted.values) mean = 1.25f;
    state[source.graph.nodes[node.inputs[0]].name + ".bias"] = std::move(bias);
  }
  const Result r = import_state(dir, state);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["tensors"] == state.size());
  CHECK(load_model(dir.path("m.safetensors")).tensors == expected.tensors);
  state["layer1.0.conv1.bias"] = Tensor({3}, 1);
  check_failure(import_state(dir, state), 1,
                {"tensor layer1.0.conv1.bias has shape [3], but the batch norm behind it"});
}

TEST_CASE("import: numbers that are not finite and negative variances are refused by the tensor's name") {
  const TempDir dir;
  const Tensors good = resnet_state(named_model("resnet20", dataset_info("cifar10"), 3));
  struct Case {
    const char* tensor;
    float value;
    const char* says;
  };
  for (const Case& c :
       {Case{.tensor = "layer2.1.conv1.weight", .value = NAN, .says = "layer2.1.conv1.weight[1] is nan"},
        {.tensor = "bn1.running_var", .value = NAN, .says = "bn1.running_var[1] is nan"},
        {.tensor = "bn1.running_var", .value = -1, .says = "bn1.running_var[1] is -1, expected a variance"},
        {.tensor = "linear.bias", .value = -INFINITY, .says = "linear.bias[1] is -inf, expected a finite"}}) {
    CAPTURE(c.tensor);
    Tensors state = good;
    state.at(c.tensor).values[1] = c.value;
    check_failure(import_state(dir, state), 1, {std::string("state.safetensors: tensor ") + c.says});
  }
  CHECK(!fs::exists(dir.path("m.safetensors")));
}

TEST_CASE("import: tensors of other types are refused only where they are needed") {
  const TempDir dir;
  const Model source = named_model("resnet20", dataset_info("cifar10"), 3);
  const auto retyped = [&](const std::string& name) {
    Tensors state = resnet_state(source);
    state["flags.mask"] = Tensor({2}, 0);
    save_safetensors(dir.path("state.safetensors"), state, {});
    std::string bytes = slurp(dir.path("state.safetensors"));
    const std::size_t type = bytes.find("\"F32\"", bytes.find("\"" + name + "\":{"));
    write_file(dir.path("state.safetensors"), bytes.replace(type, 5, "\"I32\""));
    return shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --out m.safetensors --json");
  };
  const Result r = retyped("flags.mask");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["unused"] == Json{"flags.mask"});
  CHECK(load_model(dir.path("m.safetensors")).tensors == source.tensors);
  check_failure(retyped("bn1.weight"), 1, {"tensor bn1.weight is of type I32, expected F32, F64, F16, BF16 or I64"});
}

TEST_CASE("import says what it assumed, and refuses what cannot be meant") {
  const TempDir dir;
  const Tensors state = resnet_state(named_model("resnet20", dataset_info("cifar10"), 3));
  const Result r = import_state(dir, state, "--eps 0.001");
  REQUIRE(r.code == 0);
  CHECK(r.err.find("assumed: names of akamaster/pytorch_resnet_cifar10, padding torch, eps 0.001, input normalised as "
                   "imagenet, scaled bilinear, crop 1\n") != std::string::npos);
  const Model model = load_model(dir.path("m.safetensors"));
  for (const Node& node : model.graph.nodes)
    if (std::holds_alternative<BatchNorm>(node.op)) CHECK(std::get<BatchNorm>(node.op).eps == 0.001);
  check_failure(import_state(dir, state, "--normalisation nowhere"), 2,
                {"--normalisation nowhere: expected one of imagenet, tensorflow, efficientnet-lite, cifar10, "});
  check_failure(import_state(dir, state, "--mean 123.675,116.28,103.53"), 2, {"0 to 255", "--mean 0.485,0.456,0.406"});
  write_file(dir.path("net.pth"), std::string("PK\x03\x04"
                                              "and a pickle"));
  check_failure(shell(dir, "\"$PLEAT\" import net.pth --model resnet20 --out m.safetensors"), 1,
                {"net.pth: is a PyTorch checkpoint", "tools/torch_to_safetensors.py net.pth"});
}
