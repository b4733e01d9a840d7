// Tests of masks, of folding whole networks in one call with its report, and of the alpha loss.
#include "fold/fold.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/rng.hpp"
#include "fold/alpha_loss.hpp"
#include "fold/mask.hpp"
#include "models/resnet.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

using Merge = FoldOptions::Merge;

double greatest_difference(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

double range(const Values& a) {
  const auto [least, most] = std::minmax_element(a.begin(), a.end());
  return *most - *least;
}

}  // namespace

TEST_CASE("fold: ResNet-20 with 100 random masks, with its padding moved and merged") {
  // The network has its usual initial weights. A merged weight is rounded to f32 once, so the results differ by a
  // relative 2^-24 of each of about a thousand terms, whose errors add up at random. The tolerance of 1e-6 of the range
  // is several times more than that.
  Rng rng(7, 0);
  for (const bool projection : {false, true}) {
    const Model model = real_numbers(resnet_cifar(20, Input{3, 9, 8}, 10, projection), 3);
    const Values x = whole_picture({1, 9, 8, 3}, 8);
    for (int i = 0; i < 50; ++i) {
      std::string mask;
      for (int cell = 0; cell < 18; ++cell) mask += rng.below(2) ? '#' : '.';
      CAPTURE(mask);
      const Model moved =
          fold(model, {.threshold = {}, .mask = mask, .depth = {}, .merge = Merge::none, .max_kernel = 7}).model;
      const Folded merged = fold(model, {.mask = mask, .merge = Merge::all, .borders = Borders::move_padding});
      const Values expected = run(moved, x);
      CHECK(greatest_difference(run(merged.model, x), expected) <= 1e-6 * range(expected));
      CHECK(depth(merged.model.graph) == 2 + std::count(mask.begin(), mask.end(), '#'));
      CHECK(merged.model.notes.at("fold.mask") == mask);
    }
  }
}

TEST_CASE("fold: the paper's ResNet-20 of depth 9") {
  const Model model = real_numbers(resnet_cifar(20, Input{3, 32, 32}, 10, false), 3);
  const std::string mask = "#..#.#.#.#..#..#.#.";
  const Folded folded = fold(model, {.mask = mask, .borders = Borders::move_padding});
  CHECK(depth(folded.model.graph) == 9);
  CHECK(folded.report.mask == mask.substr(1));
  CHECK(conv_count(folded.model.graph) == 16);
  REQUIRE(folded.report.activations.size() == 18);
  const ActivationRow& first = folded.report.activations[0];
  CHECK(first.alpha == "layer1.0.alpha1");
  CHECK(!first.kept);
  REQUIRE(first.group >= 0);
  const GroupRow& group = folded.report.groups[first.group];
  CHECK(group.op == "layer1.0.conv1");
  CHECK(group.from == "relu1");
  CHECK(group.to == "layer1.0.add");
  CHECK(group.kernels == std::vector<int>{3, 3});
  CHECK(group.kernel == 5);
  CHECK(group.macs_before == 2 * 9 * 16 * 16 * 32 * 32);
  CHECK(group.macs_after == 25 * 16 * 16 * 32 * 32);
  CHECK(group.border == GroupRow::Border::moved);
  const ActivationRow& second = folded.report.activations[1];
  CHECK(second.group == -1);
  CHECK(second.stop == "read by both layer1.1.conv1 and layer1.1.add");
  CHECK(folded.report.activations[2].kept);

  const Folded cheap = fold(model, {.mask = mask, .merge = Merge::cheaper});
  CHECK(macs(cheap.model.graph) == macs(model.graph));
  CHECK(conv_count(cheap.model.graph) == 19);
  for (const Node& node : cheap.model.graph.nodes) CHECK(!std::holds_alternative<BatchNorm>(node.op));
}

TEST_CASE("fold: masks from thresholds, text and depth") {
  Model model = whole_numbers(resnet_cifar(8, Input{3, 8, 8}, 10, false), 1);
  const std::vector<float> alphas = {0.2f, 0.9f, 1.0f, 0.2f, 0.95f, 0.0f};
  const std::vector<Foldable> foldable = foldable_activations(model);
  REQUIRE(foldable.size() == alphas.size());
  CHECK(foldable[0].alpha == "layer1.0.alpha1");
  CHECK(foldable[5].alpha == "layer3.0.alpha2");
  for (size_t i = 0; i < alphas.size(); ++i) model.tensors.at(foldable[i].alpha).values[0] = alphas[i];
  CHECK(mask_from_threshold(model, 0.95f) == "##.#.#");
  CHECK(mask_from_threshold(model, 0) == "......");
  CHECK(mask_from_depth(model, 8) == "######");
  CHECK(mask_from_depth(model, 6) == "##.#.#");
  CHECK(mask_from_depth(model, 4) == "...#.#");  // of two equal alphas the first in the network is dropped first
  CHECK(mask_from_depth(model, 2) == "......");
  CHECK(mask_from_text(model, "#..#.#") == "#..#.#");
  CHECK(mask_from_text(model, "#.#.#.#") == ".#.#.#");

  const auto error = [&](const auto& f) { return error_of<std::invalid_argument>(f); };
  CHECK(error([&] { mask_from_depth(model, 9); }) == "fold: depth 9 was asked for, expected 2 to 8");
  CHECK(error([&] { mask_from_depth(model, 1); }) == "fold: depth 1 was asked for, expected 2 to 8");
  CHECK(error([&] { mask_from_text(model, ".#.#.#."); }) ==
        "mask '.#.#.#.': has 7 characters, expected 6, one for each foldable activation");
  CHECK(error([&] { mask_from_text(model, "##.#.#.#"); }).find("has 8 characters, expected 6") != std::string::npos);
  CHECK(error([&] { mask_from_text(model, ""); }).find("has 0 characters, expected 6") != std::string::npos);
  CHECK(error([&] { mask_from_text(model, "##x#.#"); }) == "mask '##x#.#': got 'x', expected '#' (keep) or '.' (drop)");
  CHECK(error([&] {
          fold(model, {.threshold = 0.9, .mask = "######", .depth = {}, .merge = Merge::all, .max_kernel = 7});
        }) == "fold: 2 of the options threshold, mask and depth were given, expected at most one");
}

TEST_CASE("fold: activations that share an alpha are dropped together, and those kept keep their alpha") {
  const Model model = whole_numbers(
      parse_graph("input x : channels=2 height=5 width=5\nconv2d a <- x : out=4 kernel=1\nalpha_act r <- a : s=relu6 "
                  "alpha=t\ndepthwise_conv2d b <- r : kernel=3 pad=1\nalpha_act s <- b : s=relu6 alpha=t\n"
                  "conv2d c <- s : out=2 kernel=1\nadd d <- c x\nalpha_act u <- d : alpha=v\nconv2d e <- u : out=2\n"),
      1);
  const Folded folded = fold(model, {.mask = ".#", .borders = Borders::move_padding});
  CHECK(to_text(folded.model.graph) ==
        "input x : channels=2 height=5 width=5\nconv2d a <- x : out=2 kernel=3 stride=1 pad=1 groups=1 bias=1\n"
        "alpha_act u <- a : s=relu alpha=v\nconv2d e <- u : out=2 kernel=1 stride=1 pad=0 groups=1 bias=0\n");
  CHECK(folded.model.tensors.count("t") == 0);
  CHECK(folded.model.tensors.at("v").values[0] == 0.5f);

  // After a second fold, the mask in the notes still counts the activations of the first network.
  const Folded twice =
      fold(folded.model, {.threshold = 0.5, .mask = {}, .depth = {}, .merge = Merge::all, .max_kernel = 7});
  CHECK(twice.report.mask == ".");
  CHECK(twice.model.notes.at("fold.mask") == "..");
  CHECK(conv_count(twice.model.graph) == 1);
}

TEST_CASE("alpha loss: value and gradient") {
  const std::vector<float> alphas = {0, 0.5f, 1, 0.25f};
  CHECK(alpha_loss(alphas, 0.25, 2) == doctest::Approx(0.25 * (1 + 0.75 + 0 + 0.9375)));
  for (const double p : {1.0, 2.0, 3.5}) {
    std::vector<float> gradient(alphas.size(), 10);  // is added to
    alpha_loss_gradient(gradient, alphas, 0.25, p);
    for (size_t i = 0; i < alphas.size(); ++i) {
      const double expected = -0.25 * p * std::pow(alphas[i], p - 1);
      CHECK(gradient[i] == doctest::Approx(10 + expected));
      if (alphas[i] == 0) continue;
      std::vector<float> up = alphas, down = alphas;
      up[i] += 0x1p-8f, down[i] -= 0x1p-8f;
      CHECK((alpha_loss(up, 0.25, p) - alpha_loss(down, 0.25, p)) / 0x1p-7 == doctest::Approx(expected).epsilon(1e-3));
    }
  }
  std::vector<float> gradient(4);
  CHECK(error_of<std::invalid_argument>([&] { alpha_loss_gradient(gradient, alphas, 1, 0.5); }) ==
        "alpha loss: the exponent p is 0.5, expected at least 1");
}
