// Fitted folds: a fit finds a convolution that is there, repairs what dropping an activation breaks, and refuses
// pictures that determine nothing.
#include "fold/fit.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/rng.hpp"
#include "fold/engine/engine.hpp"
#include "fold/fold.hpp"
#include "fold/merge.hpp"
#include "fold/rewrite.hpp"
#include "ops/spec.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"
#include "tests/temp_dir.hpp"
#include "tools/fit_pictures.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

constexpr int64_t kPictures = 24;

// Runs networks on pictures of normal random numbers.
RunNetworks on_random_pictures() {
  return [](const std::string&, const std::vector<Model>& networks, const TakeOutputs& take) {
    std::vector<Engine> engines;
    for (const Model& network : networks) engines.emplace_back(network, EngineOptions{.batch = 1, .tune = false});
    Rng rng(7);
    for (int64_t picture = 0; picture < kPictures; ++picture) {
      std::vector<std::span<const float>> outputs;
      std::vector<float> pixels(engines.front().input().size());
      for (float& pixel : pixels) pixel = static_cast<float>(rng.normal());
      for (Engine& engine : engines) {
        std::ranges::copy(pixels, engine.input().begin());
        outputs.push_back(engine.run());
      }
      take(outputs, 1);
    }
  };
}

Model network(const char* text) {
  return real_numbers(parse_graph(text), 5);
}

// Mean squared difference of two networks' outputs, as a share of the first one's mean square.
double error_between(const Model& a, const Model& b) {
  double difference = 0, all = 0;
  on_random_pictures()("", {a, b}, [&](std::span<const std::span<const float>> outputs, int64_t) {
    for (std::size_t i = 0; i < outputs[0].size(); ++i) {
      const double d = outputs[0][i] - outputs[1][i];
      difference += d * d;
      all += outputs[0][i] * outputs[0][i];
    }
  });
  return difference / all;
}

constexpr const char* kResidualBlock = R"(input image : channels=4 height=10 width=10
conv2d stem <- image : out=8 kernel=3 pad=1
alpha_act stem.act <- stem : s=relu
conv2d a <- stem.act : out=8 kernel=3 pad=1
batch_norm a.norm <- a
alpha_act a.act <- a.norm : s=relu alpha=first
conv2d b <- a.act : out=8 kernel=3 pad=1
batch_norm b.norm <- b
add sum <- b.norm stem.act
alpha_act sum.act <- sum : s=relu alpha=second
conv2d head <- sum.act : out=5 kernel=3 pad=1
)";

}  // namespace

TEST_CASE("fit: a convolution that is there is found, whatever its stride and place") {
  struct Case {
    int kernel, stride;
    Padding pad;
  };
  for (const Case& c : {Case{3, 1, Padding::uniform(1)}, Case{1, 1, {}}, Case{3, 2, {0, 0, 1, 1}}, Case{5, 1, {}}}) {
    CAPTURE(c.kernel);
    CAPTURE(c.stride);
    Graph graph;
    graph.add("image", Input{3, 13, 12}, {});
    graph.add("conv", Conv2d{.out = 4, .kernel = c.kernel, .stride = c.stride, .pad = c.pad, .bias = true}, {0});
    Model model = real_numbers(graph, 1);
    std::iota(model.tensors.at("conv.bias").values.begin(), model.tensors.at("conv.bias").values.end(), -1.5f);
    const std::vector<Nhwc> shapes = infer_shapes(model.graph);
    const LinearMap wanted = linear_map(model.graph.nodes[1], shapes[0], model.tensors);
    ConvolutionFit fit(wanted.shape, shapes[0], shapes[1]);
    on_random_pictures()(
        "", {cut_after(model, 0), model},
        [&](std::span<const std::span<const float>> outputs, int64_t n) { fit.add(outputs[0], outputs[1], n); });
    const ConvolutionFit::Result found = fit.solve(1e-9);
    CHECK(found.unexplained < 1e-6);
    CHECK(difference(found.map.weight, wanted.weight) < 1e-4);
    CHECK(difference(found.map.bias, wanted.bias) < 1e-4);
  }
}

TEST_CASE("fit: a residual block becomes one 3x3 convolution that is nearer than composing") {
  const Model model = network(kResidualBlock);
  for (const auto& c : {std::pair(std::string(".#"), 3), {"#.", 4}, {"..", 2}}) {
    const std::string mask = c.first;
    CAPTURE(mask);
    const Folded fitted = fold(model, {.mask = mask, .max_kernel = 3, .fit = on_random_pictures()});
    const Folded composed = fold(model, {.mask = mask, .max_kernel = 7});
    CHECK(conv_count(fitted.model.graph) == c.second);
    CHECK(macs(fitted.model.graph) <= macs(fold(model, {.mask = "##"}).model.graph));
    CHECK(error_between(model, fitted.model) < 0.5 * error_between(model, composed.model));
    for (const FittedGroup& group : fitted.report.fits) CHECK(group.unexplained < 0.5);
    CHECK_FALSE(fitted.report.fits.empty());
    CHECK(fitted.model.notes.at("fold.mask") == mask);
  }
}

TEST_CASE("fit: to be trained on, a fitted convolution gets a batch norm that changes nothing until then") {
  const Model original = network(kResidualBlock);
  FoldOptions options{.mask = ".#", .merge = FoldOptions::Merge::cheaper, .max_kernel = 3, .fit = on_random_pictures()};
  const Model merged = fold(original, options).model;
  options.merge = FoldOptions::Merge::none;
  const Model kept = fold(original, options).model;
  const auto norms = [](const Model& model) {
    return std::ranges::count_if(model.graph.nodes,
                                 [](const Node& node) { return std::holds_alternative<BatchNorm>(node.op); });
  };
  CHECK(norms(merged) == 0);
  CHECK(norms(kept) == 1);
  CHECK(error_between(merged, kept) < 1e-10);
  // In training form the norm sees batches like those of the fit: their statistics are the norm's own.
  const int norm = find(kept.graph, "a.norm_");
  REQUIRE(norm >= 0);
  const Model before = cut_after(kept, kept.graph.nodes[norm].inputs[0]);
  const int64_t channels = kept.tensors.at("a.norm_.running_mean").shape[0];
  std::vector<double> sum(channels), squares(channels);
  int64_t pixels = 0;
  on_random_pictures()("", {before}, [&](std::span<const std::span<const float>> outputs, int64_t) {
    for (std::size_t i = 0; i < outputs[0].size(); ++i) {
      sum[i % channels] += outputs[0][i];
      squares[i % channels] += double{outputs[0][i]} * outputs[0][i];
    }
    pixels += std::ssize(outputs[0]) / channels;
  });
  for (int64_t c = 0; c < channels; ++c) {
    const double mean = sum[c] / static_cast<double>(pixels);
    CHECK(kept.tensors.at("a.norm_.running_mean").values[c] == doctest::Approx(mean).epsilon(1e-3));
    CHECK(kept.tensors.at("a.norm_.running_var").values[c] ==
          doctest::Approx(squares[c] / static_cast<double>(pixels) - mean * mean).epsilon(1e-3));
  }
  // Merging takes it away again.
  const Model again = fold(kept, {}).model;
  CHECK(norms(again) == 0);
  CHECK(error_between(kept, again) < 1e-10);
}

TEST_CASE("fit: a convolution without a batch norm beside it is fitted too") {
  const Model model = fold_batch_norm(network(kResidualBlock));
  for (const std::string mask : {".#", "#.", ".."}) {
    CAPTURE(mask);
    const Folded fitted = fold(model, {.mask = mask, .max_kernel = 3, .fit = on_random_pictures()});
    const Folded composed = fold(model, {.mask = mask, .max_kernel = 7});
    CHECK(error_between(model, fitted.model) < 0.5 * error_between(model, composed.model));
    CHECK(fitted.model.notes.at("fold.fit") == "1");
  }
}

TEST_CASE("fit: an activation among layers of several groups cannot be fitted, and is named") {
  const Model model = network(R"(input image : channels=4 height=8 width=8
depthwise_conv2d a <- image : kernel=3 pad=1
alpha_act a.act <- a : s=relu alpha=first
depthwise_conv2d b <- a.act : kernel=3 pad=1
)");
  const std::string error = error_of<std::invalid_argument>(
      [&] { fold(model, {.mask = ".", .max_kernel = 3, .fit = on_random_pictures()}); });
  CHECK(holds(error, "activation 'a.act'"));
}

TEST_CASE("fit: nothing dropped, nothing fitted") {
  const Model model = network(kResidualBlock);
  const Folded fitted = fold(model, {.mask = "##", .fit = on_random_pictures()});
  CHECK(fitted.report.fits.empty());
  CHECK(error_between(model, fitted.model) < 1e-9);
  CHECK_FALSE(fitted.model.notes.contains("fold.fit"));
}

TEST_CASE("fit: too few windows, and too many unknowns, are refused") {
  const Nhwc x{1, 3, 3, 8}, y{1, 3, 3, 2};
  ConvolutionFit fit({8, 2, 1, 1, {-1, 1}, {-1, 1}}, x, y);
  const std::vector<float> pixels(x.size(), 1.0f), outputs(y.size(), 1.0f);
  fit.add(pixels, outputs, 1);
  CHECK(holds(error_of<std::runtime_error>([&] { static_cast<void>(fit.solve(1e-4)); }), "9 windows"));
  CHECK(holds(error_of<std::invalid_argument>([&] {
                ConvolutionFit({4096, 2, 1, 1, {-3, 3}, {-3, 3}}, {1, 7, 7, 4096}, {1, 7, 7, 2});
              }),
              "GB"));
}

TEST_CASE("fit: pictures come from flat, nested and labelled folders; of one colour or broken ones are refused") {
  Model model = network("input image : channels=3 height=16 width=16\nconv2d conv <- image : out=1 kernel=3 pad=1\n");
  model.mean = model.std = {0.5f, 0.5f, 0.5f};
  const auto run = [&](const std::string& folder, int64_t pictures) {
    int64_t seen = 0;
    run_on_pictures(model, folder, pictures, 1, /*quiet=*/true)("fit", {model}, [&](auto, int64_t n) { seen += n; });
    return seen;
  };
  const std::string folders = "tests/fixtures/data/folders";
  CHECK(run(folders, 100) == 6);  // train alone
  CHECK(run(folders + "/train/n01", 100) == 3);
  CHECK(run(folders + "/train", 100) == 6);
  CHECK(run(folders, 4) == 4);

  const TempDir dir;
  const auto error = [&] { return error_of<std::runtime_error>([&] { run(dir.path(), 10); }); };
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(dir.path(name), std::ios::binary) << bytes;
  };
  write("notes.txt", "hello");
  CHECK(holds(error(), "holds no JPEG, PNG, BMP, PPM or PGM files, but notes.txt"));
  write("broken.jpg", "no picture");
  CHECK(holds(error(), "none of its 1 pictures can be read"));
  write("black.ppm", "P6 20 20 255\n" + std::string(3 * 20 * 20, '\0'));
  CHECK(holds(error(), "1 of 1 pictures are of one colour"));
}
