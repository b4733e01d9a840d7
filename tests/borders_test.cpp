// Whole networks folded in both ways and compared number by number, by the native kernels and by the engine. With exact
// borders the merged network must equal the network without its dropped activations; with moved padding it must equal
// the unmerged network whose padding was moved.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "fold/engine/engine.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "fold/proof.hpp"
#include "models/efficient_net_lite.hpp"
#include "models/mobilenet_v2.hpp"
#include "models/resnet.hpp"
#include "models/vgg.hpp"
#include "ops/exec/exec.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/fold_models.hpp"
#include "tests/temp_dir.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

using Merge = FoldOptions::Merge;
constexpr int64_t kBatch = 2;

struct Network {
  std::string name;
  Graph graph;
  int masks;  // how many random masks are tried
};

// VGG with a sixteenth of its channels, because the work of merging grows with the third power of their number.
Graph narrow_vgg() {
  Graph graph = vgg_bn(16, Input{3, 35, 33}, 10);
  for (Node& node : graph.nodes)
    if (std::holds_alternative<Conv2d>(node.op)) std::get<Conv2d>(node.op).out /= 16;
  return graph;
}

std::vector<Network> networks() {
  return {
      {"resnet20", resnet_cifar(20, Input{3, 15, 13}, 10, false), 3},
      {"resnet20, projections", resnet_cifar(20, Input{3, 12, 9}, 10, true), 3},
      {"vgg16_bn", narrow_vgg(), 3},
      {"mobilenet_v2, for small pictures", mobilenet_v2(0.25, true, Input{3, 21, 18}, 10), 3},
      {"mobilenet_v2_0.75", mobilenet_v2(0.75, false, Input{3, 45, 37}, 10), 1},  // at the end 2x2
      {"efficientnet_lite0", efficient_net_lite(0, Input{3, 38, 35}, 10), 1},     // asymmetric padding, 5x5 depthwise
  };
}

std::vector<float> pictures(const Graph& graph) {
  std::vector<float> x(infer_shapes(graph, kBatch)[0].size());
  Rng rng(1, 5);
  for (float& v : x) v = static_cast<float>(rng.normal());
  return x;
}

std::vector<float> run_native(const Model& model, const std::vector<float>& x) {
  Tensors tensors = model.tensors;
  Exec exec(model.graph, tensors, {.batch = kBatch, .kernels = Kernels::native});
  const auto y = exec.run(x);
  return {y.begin(), y.end()};
}

std::vector<float> run_engine(const Model& model, const std::vector<float>& x) {
  Engine engine(model, {.batch = kBatch});
  std::ranges::copy(x, engine.input().begin());
  const auto y = engine.run();
  return {y.begin(), y.end()};
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  Proof proof;
  proof.add_logits(a, b, static_cast<int64_t>(a.size()) / kBatch);
  return proof.max_rel_diff();
}

std::string random_mask(std::size_t cells, uint64_t seed) {
  Rng rng(seed, 6);
  std::string mask(cells, '#');
  for (char& cell : mask) cell = rng.below(2) ? '#' : '.';
  return mask;
}

}  // namespace

TEST_CASE("borders: every model family merges correctly for random masks, exactly and with moved padding") {
  for (const Network& network : networks()) {
    CAPTURE(network.name);
    const Model model = real_numbers(network.graph, 3);
    const std::vector<float> x = pictures(network.graph);
    std::set<GroupRow::Border> met;
    double moved_differs = 0;
    for (int i = 0; i < network.masks; ++i) {
      const std::string mask = random_mask(foldable_activations(model).size(), i);
      CAPTURE(mask);
      const std::vector<float> dropped = run_native(drop_activations(model, mask), x);
      const Folded exact = fold(model, {.mask = mask, .max_kernel = 5});
      CHECK(difference(dropped, run_native(exact.model, x)) <= 1e-4);
      CHECK(difference(dropped, run_engine(exact.model, x)) <= 1e-4);
      for (const GroupRow& group : exact.report.groups) met.insert(group.border);

      const FoldOptions prepare{.mask = mask, .merge = Merge::none, .max_kernel = 5};
      const std::vector<float> unmerged = run_native(fold(model, prepare).model, x);
      const Folded moved = fold(model, {.mask = mask, .max_kernel = 5, .borders = Borders::move_padding});
      CHECK(difference(unmerged, run_native(moved.model, x)) <= 1e-4);
      CHECK(difference(unmerged, run_engine(moved.model, x)) <= 1e-4);
      moved_differs = std::max(moved_differs, difference(dropped, unmerged));
      CHECK(macs(exact.model.graph) >= macs(moved.model.graph));
      CHECK(conv_count(exact.model.graph) == conv_count(moved.model.graph));
    }
    CHECK(moved_differs > 1e-3);
    CHECK(!met.contains(GroupRow::Border::moved));
    CHECK(met.size() > 1);
  }
}

TEST_CASE("borders: every model family folded exactly in two steps equals itself without its activations") {
  int stopped = 0;
  for (const Network& network : networks()) {
    CAPTURE(network.name);
    const Model model = real_numbers(network.graph, 3);
    const std::vector<float> x = pictures(network.graph);
    const std::size_t cells = foldable_activations(model).size();
    const std::vector<float> expected = run_native(drop_activations(model, std::string(cells, '.')), x);
    std::string mask(cells, '#');
    for (std::size_t i = 0; i < cells; i += 2) mask[i] = '.';
    const Folded half = fold(model, {.mask = mask, .max_kernel = 5});
    const Folded whole = fold(half.model, {.mask = std::string(cells / 2, '.'), .max_kernel = 5});
    CHECK(difference(expected, run_native(whole.model, x)) <= 1e-4);
    CHECK(difference(expected, run_engine(whole.model, x)) <= 1e-4);
    // A merged op with a border correction is not merged further, and the report says so.
    for (const ActivationRow& row : whole.report.activations)
      stopped += row.stop.ends_with(".border corrects the borders of an earlier merge");
  }
  CHECK(stopped > 10);
}

TEST_CASE("borders: after a 1x1 convolution the correction has only biases, otherwise kernels along the borders") {
  const auto fold_all = [](const char* text) {
    return fold(real_numbers(parse_graph(text), 1), {.max_kernel = 9}).report.groups.at(0);
  };
  const GroupRow block = fold_all(
      "input x : channels=8 height=14 width=14\nconv2d a <- x : out=48 kernel=1 bias=1\n"
      "depthwise_conv2d b <- a : kernel=3 pad=1\nconv2d c <- b : out=8 kernel=1\nadd y <- c x\n");
  CHECK(block.border == GroupRow::Border::bias);
  CHECK(block.macs_after == 14 * 14 * 9 * 8 * 8);
  const GroupRow basic = fold_all(
      "input x : channels=8 height=14 width=14\nconv2d a <- x : out=8 kernel=3 pad=1 bias=1\n"
      "conv2d b <- a : out=8 kernel=3 pad=1\n");
  CHECK(basic.border == GroupRow::Border::kernels);
  CHECK(basic.macs_after == (14 * 14 * 25 + 4 * 14 * 5 + 4) * 8 * 8);  // 5 taps along an edge, one for a corner
  const GroupRow unpadded = fold_all(
      "input x : channels=8 height=14 width=14\nconv2d a <- x : out=8 kernel=3 pad=1 bias=1\n"
      "conv2d b <- a : out=8 kernel=3\n");
  CHECK(unpadded.border == GroupRow::Border::same);
}

TEST_CASE("borders: the refusal `cheaper` counts the MACs of the correction") {
  // With six channels in between, merging saves MACs, but not if the correction's kernels are added.
  const Graph graph = parse_graph(
      "input x : channels=4 height=6 width=6\nconv2d a <- x : out=6 kernel=3 pad=1\n"
      "conv2d b <- a : out=4 kernel=3 pad=1\n");
  const std::vector<Region> groups = find_groups(graph, within_kernel(graph, 9));
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].macs_before == 36 * 9 * (4 * 6 + 6 * 4));
  CHECK(groups[0].macs_after == 36 * 25 * 4 * 4);
  CHECK(groups[0].macs_border == (4 * 6 * 5 + 4) * 4 * 4);
  CHECK(find_groups(graph, cheaper(graph, 9, Borders::move_padding)).size() == 1);
  CHECK(find_groups(graph, cheaper(graph, 9, Borders::exact)).empty());
}

TEST_CASE("borders: a network can be dropped first and merged later, and survives being written and read") {
  const Graph graph = resnet_cifar(20, Input{3, 16, 16}, 10, false);
  Model model = real_numbers(graph, 4);
  model.mean.assign(3, 0.0f), model.std.assign(3, 1.0f);
  const std::string mask = random_mask(18, 1);
  // A network whose activations were only dropped, with its padding unchanged, can be trained and merged exactly later.
  const Folded dropped = fold(model, {.mask = mask, .merge = Merge::none, .borders = Borders::exact});
  CHECK(dropped.model.graph == drop_activations(model, mask).graph);
  const Folded later = fold(dropped.model, {}), at_once = fold(model, {.mask = mask});
  CHECK(later.model.graph == at_once.model.graph);
  CHECK(later.model.tensors == at_once.model.tensors);
  CHECK(later.model.notes.at("fold.borders") == "exact");
  CHECK(later.model.notes.at("fold.mask") == mask);

  const TempDir dir;
  save_model(dir.path("m.safetensors"), later.model);
  const Model read = load_model(dir.path("m.safetensors"));
  CHECK(read.graph == later.model.graph);
  CHECK(read.tensors == later.model.tensors);
}
