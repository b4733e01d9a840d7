// Reproduces published accuracies with pretrained weights and the real test pictures. The weights
// (akamaster_resnet*.safetensors, mobilenet_v2_1.0_imagenet.safetensors) are expected in $PLEAT_WEIGHTS, and CIFAR-10
// where the programs expect it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "core/check.hpp"
#include "core/rng.hpp"
#include "data/dataset.hpp"
#include "fold/engine/engine.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "fold/proof.hpp"
#include "ops/exec/exec.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/run.hpp"

using namespace pleat;
namespace fs = std::filesystem;

namespace {

// The path of a published state_dict; empty, with a message, if it is not there.
std::optional<std::string> weights(const std::string& name) {
  const char* folder = std::getenv("PLEAT_WEIGHTS");
  const std::string path = concat(folder ? folder : ".", '/', name, ".safetensors");
  if (folder && std::filesystem::exists(path)) return std::filesystem::absolute(path);
  MESSAGE("skipped: no ", path, "; $PLEAT_WEIGHTS names the folder with the pretrained weights");
  return std::nullopt;
}

bool has_cifar10() {
  try {
    find_dataset("cifar10");
    return true;
  } catch (const std::runtime_error& error) {
    MESSAGE("skipped: ", error.what());
    return false;
  }
}

Model import_resnet20(const TempDir& dir, const std::string& path) {
  REQUIRE(shell(dir, "\"$PLEAT\" import '" + path + "' --model resnet20 --out net.safetensors --quiet").code == 0);
  return load_model(dir.path("net.safetensors"));
}

std::string random_mask(uint64_t seed, std::size_t cells) {
  Rng rng(seed);
  std::string mask(cells, '#');
  for (char& cell : mask) cell = rng.below(2) ? '#' : '.';
  return mask;
}

// Compares the network with its padding moved, as it would be fine-tuned, with the merged network.
Proof prove(const Model& net, const std::string& mask, std::span<const float> images, int64_t batch) {
  Model unmerged = fold(net, {.mask = mask, .merge = FoldOptions::Merge::none}).model;
  Model merged = fold(unmerged, {}).model;
  Exec a(unmerged.graph, unmerged.tensors, {.batch = batch}), b(merged.graph, merged.tensors, {.batch = batch});
  Proof proof;
  const int64_t classes = a.shape(unmerged.graph.output()).c;
  const std::size_t step = a.input().size();
  for (std::size_t first = 0; first < images.size(); first += step)
    proof.add_logits(a.run(images.subspan(first, step)), b.run(images.subspan(first, step)), classes);
  return proof;
}

}  // namespace

TEST_CASE("published: imported ResNets score to the digit, by native kernels, oneDNN's and the engine" *
          doctest::test_suite("slow")) {
  if (!has_cifar10()) return;
  for (const auto& [depth, top1] : {std::pair{20, 0.9173}, {32, 0.9263}, {56, 0.9339}}) {
    const auto path = weights(concat("akamaster_resnet", depth));
    if (!path) continue;
    CAPTURE(depth);
    const TempDir dir;
    const std::string place = std::filesystem::absolute(find_dataset("cifar10"));
    REQUIRE(
        shell(dir, concat("\"$PLEAT\" import '", *path, "' --model resnet", depth, " --out net.safetensors")).code ==
        0);
    for (const std::string how : {"--kernels native", "--kernels onednn", "--engine"}) {
      CAPTURE(how);
      const Result r = shell(dir, "\"$PLEAT\" eval net.safetensors --data '" + place + "' --json --quiet " + how);
      REQUIRE(r.code == 0);
      CHECK(r.json()["images"] == 10000);
      CHECK(r.json()["top1"].get<double>() == doctest::Approx(top1).epsilon(1e-9));
    }
  }
}

TEST_CASE("published: ResNet-20 with 100 random masks, merged against unmerged, f32" * doctest::test_suite("slow")) {
  const auto path = weights("akamaster_resnet20");
  if (!path) return;
  const TempDir dir;
  const Model net = import_resnet20(dir, *path);
  constexpr int64_t kBatch = 8;
  AlignedVector<float> images(kBatch * 32 * 32 * 3);
  Rng rng(1);
  for (float& pixel : images) pixel = static_cast<float>(rng.normal());
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::string mask = random_mask(seed, 18);
    CAPTURE(mask);
    const Proof proof = prove(net, mask, images, kBatch);
    CHECK(proof.max_rel_diff() <= 1e-4);
    CHECK(proof.same_top1() == 1);
  }
}

TEST_CASE("published: ResNet-20 with random masks gives the same top-1, merged or not, on every test picture" *
          doctest::test_suite("slow")) {
  const auto path = weights("akamaster_resnet20");
  if (!path || !has_cifar10()) return;
  const TempDir dir;
  const Model net = import_resnet20(dir, *path);
  const Dataset data = load_dataset("cifar10", Split::test);
  std::vector<float> images(data.images.size());
  for (std::size_t i = 0; i < images.size(); ++i)
    images[i] = (static_cast<float>(data.images[i]) / 255 - net.mean[i % 3]) / net.std[i % 3];
  for (uint64_t seed = 100; seed < 102; ++seed) {
    const std::string mask = random_mask(seed, 18);
    CAPTURE(mask);
    const Proof proof = prove(net, mask, images, 250);
    CHECK(proof.images() == 10000);
    CHECK(proof.max_rel_diff() <= 1e-4);
    CHECK(proof.same_top1() == 1);
  }
}

TEST_CASE("published: MobileNetV2 without five blocks' activations, merged exactly without training") {
  const auto path = weights("mobilenet_v2_1.0_imagenet");
  if (!path) return;
  const TempDir dir;
  REQUIRE(shell(dir, "\"$PLEAT\" import '" + *path +
                         "' --model mobilenet_v2_1.0 --padding same --normalisation tensorflow --out net.safetensors "
                         "--quiet")
              .code == 0);
  const std::string mask = "#.#.###...#######";  // blocks 2, 4, 8, 9 and 10
  const Model net = load_model(dir.path("net.safetensors"));
  Model dropped = drop_activations(net, mask);
  AlignedVector<float> images(2 * 224 * 224 * 3);
  Rng rng(1);
  for (float& pixel : images) pixel = static_cast<float>(std::clamp(0.5 * rng.normal(), -1.0, 1.0));
  Exec unmerged(dropped.graph, dropped.tensors, {.batch = 2});
  const auto expected = unmerged.run(images);
  for (const int max_kernel : {3, 5}) {
    CAPTURE(max_kernel);
    Model merged = fold(net, {.mask = mask, .max_kernel = max_kernel, .borders = Borders::exact}).model;
    CHECK(conv_count(merged.graph) < conv_count(dropped.graph));
    Exec exec(merged.graph, merged.tensors, {.batch = 2});
    Engine engine(merged, {.batch = 2});
    std::ranges::copy(images, engine.input().begin());
    Proof by_exec, by_engine;
    by_exec.add_logits(expected, exec.run(images), 1000);
    by_engine.add_logits(expected, engine.run(), 1000);
    for (const Proof& proof : {by_exec, by_engine}) {
      CHECK(proof.max_rel_diff() <= 1e-4);
      CHECK(proof.same_top1() == 1);
    }
  }
}

TEST_CASE("published: MobileNetV2 from TensorFlow, its batch norms folded, imports whole") {
  const auto path = weights("mobilenet_v2_1.0_imagenet");
  if (!path) return;
  const TempDir dir;
  const Result r = shell(dir, "\"$PLEAT\" import '" + *path +
                                  "' --model mobilenet_v2_1.0 --padding same --normalisation tensorflow --out "
                                  "net.safetensors --json --quiet");
  REQUIRE(r.code == 0);
  CHECK(r.json()["tensors"] == 2 * 53);  // a weight and a bias of each convolution and of the classifier
  CHECK(r.json()["unused"].empty());
  const Model net = load_model(dir.path("net.safetensors"));
  CHECK(net.mean == std::vector<float>(3, 0.5f));
  CHECK(net.std == std::vector<float>(3, 0.5f));
  CHECK(to_text(net.graph, find(net.graph, "features.2.conv.1.0")).find("stride=2 pad=0,0,1,1") != std::string::npos);
}

TEST_CASE("published: MobileNetV2's accuracy on folders of ImageNet's pictures, by the engine" *
          doctest::test_suite("slow")) {
  const auto path = weights("mobilenet_v2_1.0_imagenet");
  const char* const root = std::getenv("PLEAT_DATA");
  const std::string sample = std::string(root ? root : "") + "/imagenet-sample";  // a picture of each class
  if (!path || !fs::is_directory(sample)) {
    MESSAGE("skipped: no weights, or no imagenet-sample in $PLEAT_DATA");
    return;
  }
  const TempDir dir;
  REQUIRE(shell(dir, "\"$PLEAT\" import '" + *path +
                         "' --model mobilenet_v2_1.0 --padding same --normalisation tensorflow --out net.safetensors")
              .code == 0);
  const auto top1 = [&](const std::string& data) {
    Result r = shell(dir, "\"$PLEAT\" eval net.safetensors --engine --quiet --json --data " + data);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    return 100 * r.json()["top1"].get<double>();
  };
  CHECK(std::abs(top1("'" + sample + "'") - 81.6) < 0.3);
  const std::string ten = std::string(root) + "/imagenette";
  if (fs::is_directory(ten)) CHECK(std::abs(top1("'" + ten + "' --class-list '" + sample + "'") - 72.5) < 0.5);
}
