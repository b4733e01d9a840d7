// The built-in networks: exact parameter counts and MACs, parameter names, shapes, and the masks of the paper.
#include "models/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "core/rng.hpp"
#include "fold/mask.hpp"
#include "models/padding_style.hpp"
#include "ops/exec/exec.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tools/open_model.hpp"

using namespace pleat;

namespace {

struct Published {
  const char* name;
  int classes;
  int64_t params, macs;
  int depth;
};

// ResNets: akamaster/pytorch_resnet_cifar10, README: 0.27, 0.46, 0.66, 0.85 M.
// VGG, MobileNetV2 at 32x32: chenyaofo/pytorch-cifar-models, README, CIFAR-10: 15.25 M and 313.73 M, 20.57 M and 398.66
// M, 1.37 M and 59.31 M, 2.24 M and 87.98 M, 4.33 M and 170.07 M. Exact figures: counted on torchvision 0.28's modules,
// which these are made of (convolutions and linear layers, by forward hooks).
// MobileNetV2: torchvision's documentation of MobileNet_V2_Weights: 3504872, 0.30 G; the other widths as above.
// EfficientNet-lite: counted on timm 1.0.31's tf_efficientnet_lite0 and 1; the TPU repository gives 4.7 M and 5.4 M
// (and 407 M and 631 M operations, batch norms among them). Depths of the unfolded networks: a cell of the paper's
// masks each, and one.
const Published kPublished[] = {
    {"resnet20", 10, 269'722, 40'551'040, 20},
    {"resnet32", 10, 464'154, 68'862'592, 32},
    {"resnet44", 10, 658'586, 97'174'144, 44},
    {"resnet56", 10, 853'018, 125'485'696, 56},
    {"vgg16_bn", 10, 15'253'578, 313'725'952, 16},
    {"vgg16_bn", 100, 15'299'748, 313'772'032, 16},
    {"vgg19_bn", 10, 20'565'834, 398'660'608, 19},
    {"vgg19_bn", 100, 20'612'004, 398'706'688, 19},
    {"mobilenet_v2_0.75_cifar", 10, 1'368'234, 59'310'080, 18},
    {"mobilenet_v2_1.0_cifar", 10, 2'236'682, 87'976'448, 18},
    {"mobilenet_v2_1.0_cifar", 100, 2'351'972, 88'091'648, 18},
    {"mobilenet_v2_1.4_cifar", 10, 4'333'706, 170'073'344, 18},
    {"mobilenet_v2_0.75", 1000, 2'636'424, 209'069'792, 18},
    {"mobilenet_v2_1.0", 1000, 3'504'872, 300'774'272, 18},
    {"mobilenet_v2_1.4", 1000, 6'108'776, 582'195'824, 18},
    {"efficientnet_lite0", 1000, 4'652'008, 385'187'552, 17},
    {"efficientnet_lite1", 1000, 5'416'680, 600'185'232, 22},
};

Graph usual_graph(const std::string& name, int classes) {
  const DatasetInfo data = usual_dataset(name);
  return make_model(name, {data.channels, data.height, data.width}, classes);
}

}  // namespace

TEST_CASE("models: parameters, MACs and depth are exactly the published ones") {
  std::vector<std::string> seen;
  for (const Published& p : kPublished) {
    CAPTURE(p.name);
    CAPTURE(p.classes);
    const Graph graph = usual_graph(p.name, p.classes);
    CHECK(parameter_count(graph) == p.params);
    CHECK(macs(graph) == p.macs);
    CHECK(depth(graph) == p.depth);
    CHECK(infer_shapes(graph, 3).back() == Nhwc{3, 1, 1, p.classes});
    CHECK(parse_graph(to_text(graph)) == graph);
    if (seen.empty() || seen.back() != p.name) seen.emplace_back(p.name);
  }
  CHECK(seen == model_names());
}

TEST_CASE("models: other widths, classes and input sizes have exact parameter counts and MACs") {
  struct Wanted {
    const char* name;
    NetworkOptions options;
    int64_t params, macs;
  };
  // Counted on PyTorch modules as above; 0.35 and 0.5 are also in Keras' documentation of MobileNetV2: 59 M and 97 M
  // MACs. VGG's classifier grows with the pixels that the last pooling leaves: 2x2.
  const Wanted all[] = {
      {"mobilenet_v2_1.0", {.width = 0.35}, 1'677'128, 59'285'808},
      {"mobilenet_v2_1.4", {.width = 0.5}, 1'968'680, 97'131'840},
      {"mobilenet_v2_1.0", {.width = 1.3, .input_size = 96}, 5'386'792, 94'916'960},
      {"mobilenet_v2_1.0", {.width = 2, .input_size = 160}, 11'258'088, 581'574'400},
      {"mobilenet_v2_1.0_cifar", {.width = 0.5}, 700'490, 27'969'024},
      {"mobilenet_v2_1.0_cifar", {.width = 1.1, .classes = 100}, 2'806'180, 100'201'216},
      {"vgg16_bn", {.input_size = 64}, 15'253'578 + 3 * 512 * 512, 4 * (313'725'952 - 512 * 522) + 512 * 522},
  };
  for (const Wanted& w : all) {
    CAPTURE(w.name);
    CAPTURE(w.params);
    const Model model = open_model(w.name, 1, "", "", w.options);
    CHECK(parameter_count(model.graph) == w.params);
    CHECK(macs(model.graph) == w.macs);
    CHECK(depth(model.graph) == (std::string(w.name) == "vgg16_bn" ? 16 : 18));
    CHECK(std::get<Input>(model.graph.nodes[0].op).height ==
          w.options.input_size.value_or(usual_dataset(w.name).height));
  }
}

TEST_CASE("models: the paper's masks leave the depth that the paper states") {
  const std::vector<std::tuple<const char*, const char*, int>> folded = {
      {"resnet20", "#..#.#.#.#..#..#.#.", 9},
      {"resnet20", "##.#.##..#.##..#.#.", 11},
      {"vgg16_bn", "#######....#...", 9},
      {"vgg16_bn", "#.##########...", 12},
      {"vgg19_bn", "#.#####..#........", 8},
      {"vgg19_bn", "#.#####.####.....#", 12},
      {"mobilenet_v2_0.75_cifar", "..##.#.#...##.###", 10},
      {"mobilenet_v2_0.75_cifar", "..###......######", 10},
      {"mobilenet_v2_1.0_cifar", "..#..#.#...######", 10},
      {"mobilenet_v2_1.0_cifar", "...#.#.#...######", 10},
      {"mobilenet_v2_1.4_cifar", "..#..#.#....#####", 9},
      {"mobilenet_v2_1.4_cifar", "..####.#...######", 12},
  };
  for (const auto& [name, mask, expected] : folded) {
    CAPTURE(name);
    CAPTURE(mask);
    const Model model = named_model(name, dataset_info("cifar10"), 1);
    CHECK(depth(drop_activations(model, mask_from_text(model, mask)).graph) == expected);
  }
}

TEST_CASE("models: parameters are named as in the published state_dicts") {
  const auto line = [](const std::string& model, const std::string& node) {
    const Graph graph = usual_graph(model, 10);
    const int index = find(graph, node);
    return index < 0 ? "no " + node : to_text(graph, index);
  };
  CHECK(line("vgg16_bn", "features.40") ==
        "conv2d features.40 <- features.39 : out=512 kernel=3 stride=1 pad=1 groups=1 bias=1");
  CHECK(line("vgg16_bn", "features.42") == "alpha_act features.42 <- features.41 : s=relu alpha=features.42.alpha");
  CHECK(line("vgg16_bn", "features.43") == "max_pool2d features.43 <- features.42 : kernel=2 stride=2 pad=0");
  CHECK(line("vgg19_bn", "features.52").starts_with("max_pool2d "));
  CHECK(line("vgg19_bn", "classifier.3") == "linear classifier.3 <- classifier.1 : out=512 bias=1");
  CHECK(line("vgg19_bn", "classifier.6") == "linear classifier.6 <- classifier.4 : out=10 bias=1");

  CHECK(line("mobilenet_v2_1.0", "features.0.0") ==
        "conv2d features.0.0 <- input : out=32 kernel=3 stride=2 pad=1 groups=1 bias=0");
  CHECK(line("mobilenet_v2_1.0", "features.1.conv.1")
            .starts_with("conv2d features.1.conv.1 <- features.1.relu2 : out=16 "));
  CHECK(line("mobilenet_v2_1.0", "features.2.conv.1.0") ==
        "depthwise_conv2d features.2.conv.1.0 <- features.2.relu1 : kernel=3 stride=2 pad=1 bias=0");
  CHECK(line("mobilenet_v2_1.0_cifar", "features.2.conv.1.0").find("stride=1") != std::string::npos);
  CHECK(line("mobilenet_v2_1.0", "features.3.relu2") ==
        "alpha_act features.3.relu2 <- features.3.conv.1.1 : s=relu6 alpha=features.3.alpha");
  CHECK(line("mobilenet_v2_1.0", "features.3.add") == "add features.3.add <- features.3.conv.3 features.2.conv.3");
  CHECK(
      line("mobilenet_v2_1.4", "features.18.0").starts_with("conv2d features.18.0 <- features.17.conv.3 : out=1792 "));

  CHECK(line("efficientnet_lite0", "_blocks.0._depthwise_conv") ==
        "depthwise_conv2d _blocks.0._depthwise_conv <- _relu0 : kernel=3 stride=1 pad=1 bias=0");
  CHECK(line("efficientnet_lite0", "_blocks.3._depthwise_conv") ==
        "depthwise_conv2d _blocks.3._depthwise_conv <- _blocks.3.relu1 : kernel=5 stride=2 pad=1,1,2,2 bias=0");
  CHECK(line("efficientnet_lite0", "_bn0") == "batch_norm _bn0 <- _conv_stem : eps=0.001 momentum=0.01");
  CHECK(line("efficientnet_lite1", "_blocks.20._project_conv").find("out=320") != std::string::npos);
}

TEST_CASE("models: the gradient of each family at a tiny size is the derivative of the loss") {
  const std::vector<std::pair<std::string, int>> tiny = {{"resnet20", 8},
                                                         {"vgg16_bn", 32},
                                                         {"mobilenet_v2_0.75_cifar", 32},
                                                         {"mobilenet_v2_0.75", 33},
                                                         {"efficientnet_lite0", 33}};
  const std::vector<int32_t> labels = {0, 1, 2, 3, 0, 1, 2, 3};
  for (const auto& [name, side] : tiny) {
    CAPTURE(name);
    const Graph graph = make_model(name, {3, side, side}, 4);
    Tensors tensors = initial_tensors(graph, 1);
    Exec exec(graph, tensors, {.batch = 8, .training = true});
    Rng rng(2);
    for (float& pixel : exec.input()) pixel = static_cast<float>(rng.normal());
    exec.forward();
    cross_entropy_backward<float>(exec.output_gradient(), exec.output(), labels, 4, 0);
    exec.backward();
    double square = 0;
    for (const auto& [parameter, gradient] : exec.gradients())
      for (const float g : gradient.values) square += double{g} * g;
    const Tensors start = tensors;
    const double length = std::sqrt(square), step = 5e-5;
    const auto loss_at = [&](double distance) {
      for (const auto& [parameter, gradient] : exec.gradients()) {
        const auto &from = start.at(parameter).values, &along = gradient.values;
        auto& to = tensors.at(parameter).values;
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(from[i] + distance / length * along[i]);
      }
      exec.forward();
      return cross_entropy_forward<float>(exec.output(), labels, 4, 0);
    };
    // Kinks, and batch norms over few pixels, make the loss nonlinear; shorter steps are more accurate.
    CHECK((loss_at(step) - loss_at(-step)) / (2 * step) == doctest::Approx(length).epsilon(0.05));
  }
}

TEST_CASE("models: set_padding pads in both styles") {
  Graph graph = make_model("mobilenet_v2_1.0", {3, 224, 224}, 1000);
  const Graph symmetric = graph;
  const auto pad = [&](const char* node) {
    return std::visit(
        [](const auto& op) {
          if constexpr (requires { op.pad; }) return op.pad;
          return Padding::uniform(-1);
        },
        graph.nodes[find(graph, node)].op);
  };
  set_padding(graph, PaddingStyle::same);
  CHECK(pad("features.0.0") == Padding{0, 0, 1, 1});          // 224 to 112
  CHECK(pad("features.3.conv.1.0") == Padding::uniform(1));   // stride 1
  CHECK(pad("features.14.conv.1.0") == Padding{0, 0, 1, 1});  // 14 to 7
  set_padding(graph, PaddingStyle::symmetric);
  CHECK(graph == symmetric);
  Graph lonely = parse_graph("input x : channels=1 height=5 width=5\nconv2d c <- x : out=1 kernel=3");
  CHECK(error_of<std::invalid_argument>([&] { set_padding(lonely, PaddingStyle::same); }).find("shapes") !=
        std::string::npos);
}

TEST_CASE("models: unknown names and options that a network does not have are refused") {
  CHECK(error_of<std::invalid_argument>([] {
          make_model("vgg16_bn", {3, 32, 32}, 10, {.projection = true});
        }).starts_with("vgg16_bn has no skips that change the shape, so none can be a projection\nhint: "));
  CHECK(error_of<std::invalid_argument>([] {
          make_model("resnet20", {3, 32, 32}, 10, {.width = 2});
        }).starts_with("resnet20 has a fixed width, got width 2\nhint: "));
  CHECK(error_of<std::invalid_argument>([] { open_model("vgg16_bn", 1, "", "", {.input_size = 8}); }) ==
        "max_pool2d 'features.33': window 2x2 is larger than its padded input 1x1");
  CHECK(error_of<std::invalid_argument>([] {
          make_model("vgg17_bn", {3, 32, 32}, 10);
        }).starts_with("no network is called 'vgg17_bn', did you mean 'vgg16_bn'? (expected one of resnet20, "));
}
