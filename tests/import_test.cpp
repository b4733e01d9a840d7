// `pleat import`: the names of every code base it knows, what does not fit, batch norms folded before.
#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/check.hpp"
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

  const Result good =
      shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --out m.safetensors --std 0.2,0.2,0.25 --json");
  CHECK(good.code == 0);
  CHECK(good.json()["tensors"] == state.size() - 2);
  CHECK(good.json()["unused"] == Json{"module.extra.weight"});
  CHECK(good.json()["missing"] == Json::array());
  const Model model = load_model(dir.path("m.safetensors"));
  CHECK(model.tensors == source.tensors);
  CHECK(model.graph == source.graph);
  CHECK(model.mean == std::vector<float>{0.485f, 0.456f, 0.406f});
  CHECK(model.std == std::vector<float>{0.2f, 0.2f, 0.25f});

  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model resnet32 --out n.safetensors"), 1,
                {"60 tensors that resnet32 needs are missing: layer1.3.conv1.weight, ",
                 ", layer3.4.bn2.running_var; unused: module.extra.weight"});
  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model mobilenet_v2_1.0 --out n.safetensors"), 1,
                {"none of its 98 tensors is one of mobilenet_v2_1.0's"});
  check_failure(shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --classes 100 --out n.safetensors"), 1,
                {"tensor module.linear.weight (linear.weight) has shape [10, 64], but resnet20 needs [100, 64]"});
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
  import_as("mobilenet_v2_0.75", open_model("mobilenet_v2_0.75", 3), rename, "timm");
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
