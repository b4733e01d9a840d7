// Learning features without labels: its parts against numbers computed by hand or in double, and `pleat distill` from
// outside.
#include <cmath>
#include <fstream>
#include <numeric>

#include "core/rng.hpp"
#include "data/loader.hpp"
#include "fold/engine/engine.hpp"
#include "ops/loss/feature_error.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/cifar_files.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"
#include "tests/run.hpp"
#include "tools/recoverability.hpp"
#include "tools/train/adam.hpp"
#include "tools/train/calibrate.hpp"
#include "tools/train/feature_part.hpp"
#include "tools/train/mix_pictures.hpp"
#include "tools/train/optimiser.hpp"

using namespace pleat;
using doctest::Approx;
namespace fs = std::filesystem;

namespace {

std::vector<float> normal_numbers(std::size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

constexpr const char* kNetwork = R"(input image : channels=3 height=6 width=6
conv2d a <- image : out=4 kernel=3 pad=1
batch_norm a.norm <- a
alpha_act a.act <- a.norm : s=relu alpha=first
conv2d b <- a.act : out=5 kernel=3 pad=1
batch_norm b.norm <- b
alpha_act b.act <- b.norm : s=relu alpha=second
global_avg_pool pool <- b.act
linear head <- pool : out=3
)";

Model network() {
  Model model = testing::real_numbers(parse_graph(kNetwork), 3);
  model.mean = model.std = {0.5f, 0.5f, 0.5f};
  return model;
}

std::vector<float> output(const Model& model, std::span<const float> picture) {
  Engine engine(model, EngineOptions{.batch = 1, .tune = false});
  std::ranges::copy(picture, engine.input().begin());
  const auto out = engine.run();
  return {out.begin(), out.end()};
}

}  // namespace

TEST_CASE("distill: Adam's steps equal PyTorch's formula in double") {
  const std::size_t n = 10007;  // more than a thread's part, and no multiple of a vector
  std::vector<float> param = normal_numbers(n, 1), mean(n), square(n);
  std::vector<double> p(param.begin(), param.end()), m(n), v(n);
  for (int t = 1; t <= 4; ++t) {
    const std::vector<float> grad = normal_numbers(n, 10 + t);
    adam_step(param, grad, mean, square, t, 0.01, 0.1);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = 0.9 * m[i] + 0.1 * grad[i];
      v[i] = 0.999 * v[i] + 0.001 * grad[i] * grad[i];
      p[i] -= 0.01 * (0.1 * p[i] + m[i] / (1 - std::pow(0.9, t)) / (std::sqrt(v[i] / (1 - std::pow(0.999, t))) + 1e-8));
    }
  }
  double worst = 0;
  for (std::size_t i = 0; i < n; ++i) worst = std::max(worst, std::abs(param[i] - p[i]));
  CHECK(worst < 1e-6);
  CHECK(holds(error_of<std::invalid_argument>([&] { adam_step(param, param, mean, square, 0, 0.1, 0); }), "step is 0"));
}

TEST_CASE("distill: the feature error is a fraction of the teacher's square, with its gradient") {
  const std::vector<float> teacher{3, 0, -4, 0}, x{3, 1, -2, 0};
  std::vector<float> dx(4);
  CHECK(feature_error(dx, x, teacher) == Approx(5.0 / 25));
  CHECK(dx[0] == 0);
  CHECK(dx[1] == Approx(2.0 / 25));
  CHECK(dx[2] == Approx(4.0 / 25));
  CHECK(feature_error(dx, std::vector<float>{1, 0, 0, 0}, std::vector<float>(4)) == Approx(1));
  CHECK(holds(error_of<std::invalid_argument>([&] { feature_error(dx, x, std::vector<float>(3)); }), "3 of the"));
}

TEST_CASE("distill: mixed pictures are weighted sums of two, and chance depends on seed and step alone") {
  const int64_t pictures = 5, size = 3;
  std::vector<float> images(pictures * size);
  for (int64_t i = 0; i < std::ssize(images); ++i) images[i] = i < size ? 1.0f : 0.0f;  // the first is 1, the rest 0
  PictureMixer never(0, 1), always(1, 1), half(0.5, 1);
  CHECK(never.mix(images, pictures, 3).data() == images.data());
  const auto mixed = always.mix(images, pictures, 3);
  REQUIRE(mixed.data() != images.data());
  CHECK(std::accumulate(mixed.begin(), mixed.end(), 0.0) == Approx(3));  // each picture goes in twice, by w and 1 - w
  CHECK(mixed[0] < 1);
  const std::vector<float> first(mixed.begin(), mixed.end());
  PictureMixer another(1, 1);
  CHECK(another.mix(images, pictures, 3)[0] == first[0]);
  CHECK(always.mix(images, pictures, 4)[0] != first[0]);
  int count = 0;
  for (int64_t step = 0; step < 200; ++step) count += half.mix(images, pictures, step).data() != images.data();
  CHECK(count > 70);
  CHECK(count < 130);
}

TEST_CASE("distill: the part before the pooling gives its features, and merged norms change nothing") {
  const Model model = network();
  const std::vector<float> picture = normal_numbers(3 * 6 * 6, 4);
  const std::vector<float> features = output(feature_part(model), picture), logits = output(model, picture);
  REQUIRE(features.size() == 5 * 6 * 6);
  for (int c = 0; c < 3; ++c) {  // pooled and classified by hand, they are the network's outputs
    double logit = model.tensors.at("head.bias").values[c];
    for (int k = 0; k < 5; ++k)
      for (int i = 0; i < 36; ++i)
        logit += model.tensors.at("head.weight").values[c * 5 + k] * features[k * 36 + i] / 36;
    CHECK(logits[c] == Approx(logit).epsilon(1e-4));
  }
  const Model frozen = with_frozen_norms(model);
  for (const Node& node : frozen.graph.nodes) CHECK(!std::holds_alternative<BatchNorm>(node.op));
  const std::vector<float> same = output(frozen, picture);
  for (int c = 0; c < 3; ++c) CHECK(same[c] == Approx(logits[c]).epsilon(1e-4));

  Graph alone;
  alone.add("norm", BatchNorm{}, {alone.add("image", Input{3, 6, 6}, {})});
  const Model no_conv = testing::real_numbers(alone, 1);
  CHECK(holds(error_of<std::invalid_argument>([&] { with_frozen_norms(no_conv); }), "'norm' cannot be frozen"));
  CHECK(holds(error_of<std::invalid_argument>([&] { feature_part(no_conv); }), "neither a global pooling nor"));
}

TEST_CASE("distill: frozen parameters keep their values, and a pattern that matches none is an error") {
  Model model = network();
  Tensors gradients = model.tensors;
  for (auto& [name, tensor] : gradients) std::ranges::fill(tensor.values, 1.0f);
  const Tensors before = model.tensors;
  Recipe recipe = usual_recipe("distill");
  recipe.freeze = {"a.*", "head.bias"};
  Optimiser optimiser(model, gradients, recipe);
  optimiser.step(0.1, 0);
  for (const auto& [name, tensor] : before) {
    CAPTURE(name);
    const bool moves = name == "b.weight" || name == "b.bias" || name.starts_with("b.norm.weight") ||
                       name.starts_with("b.norm.bias") || name == "head.weight";
    CHECK((model.tensors.at(name).values != tensor.values) == moves);
  }
  CHECK(optimiser.velocities().contains("b.weight square"));
  recipe.freeze = {"c.*"};
  CHECK(holds(error_of<std::invalid_argument>([&] { Optimiser(model, gradients, recipe); }), "matches 'c.*'"));
  recipe.freeze = {"*"};
  CHECK(holds(error_of<std::invalid_argument>([&] { Optimiser(model, gradients, recipe); }), "nothing is left"));
}

TEST_CASE("distill: a fitted network learns without labels, repeats and resumes bit for bit") {
  const TempDir dir;
  write_cifar(dir, 160, 40);
  const auto run = [&](const std::string& arguments) {
    return shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + arguments + " --threads 2 --seed 5 --quiet --json");
  };
  const std::string base = "base/model.safetensors", set = " --data cifar10 ";
  REQUIRE(run("train resnet20 --epochs 2 --batch 16 --lr 0.05 --out base" + set).code == 0);
  REQUIRE(
      run("fold " + base + " --mask '.#################' --fit cifar10 --pictures 100 --out fitted.safetensors").code ==
      0);
  const std::string distill =
      "distill fitted.safetensors --teacher " + base + set + "--val cifar10 --batch 16 --epochs 3 --lr 0.001 --out ";
  const Result whole = run(distill + "whole");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  std::ifstream log(dir.path("whole/log.jsonl"));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(log, line);) lines.push_back(nlohmann::json::parse(line));
  REQUIRE(lines.size() == 3);
  CHECK(!lines[0].contains("train_top1"));
  CHECK(lines[2]["train_loss"] < 0.8 * lines[0]["train_loss"].get<double>());
  const nlohmann::json json = whole.json();
  CHECK(json["feature_error"] == lines[2]["train_loss"]);
  CHECK(json["images"] == 40);
  CHECK(json["top1"] == lines[2]["test_top1"]);
  const double gained = json["turned_right"].get<double>() - json["turned_wrong"].get<double>();
  CHECK(json["top1"].get<double>() - json["top1_base"].get<double>() == Approx(gained / 40));

  // Frozen norms are merged before any kind of training.
  REQUIRE(
      run("finetune " + base + set + "--batch 16 --epochs 1 --freeze-norms --freeze 'linear.*' --out frozen").code ==
      0);
  const Model frozen = load_model(dir.path("frozen/model.safetensors")), start = load_model(dir.path(base));
  for (const Node& node : frozen.graph.nodes) CHECK(!std::holds_alternative<BatchNorm>(node.op));
  CHECK(frozen.tensors.at("linear.weight").values == start.tensors.at("linear.weight").values);
  CHECK(holds(frozen.notes.at("recipe"), "\"freeze_norms\":true"));

  // The classifier is the base's, and what was learned is in the file.
  const Model after = load_model(dir.path("whole/model.safetensors")),
              before = load_model(dir.path("fitted.safetensors"));
  CHECK(after.tensors.at("linear.weight").values == before.tensors.at("linear.weight").values);
  CHECK(after.tensors.at("conv1.weight").values != before.tensors.at("conv1.weight").values);

  const Result stopped =
      shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + distill +
                     "part --threads 2 --seed 5 --quiet --json & pid=$!; until [ -s part/log.jsonl ]; do "
                     "sleep 0.01; kill -0 $pid || break; done; kill -INT $pid; wait $pid");
  CHECK(stopped.code == 130);
  // Without labelled pictures there is no accuracy, and the page about the run names none.
  REQUIRE(run("distill fitted.safetensors --teacher " + base + set + "--batch 16 --epochs 1 --out blind").code == 0);
  CHECK(!holds(slurp(dir.path("blind/log.jsonl")), "top1"));
  REQUIRE(shell(dir, "\"$PLEAT\" report blind --out blind.html").code == 0);
  CHECK(!holds(slurp(dir.path("blind.html")), "top-1 on the test split"));
  REQUIRE(shell(dir, "\"$PLEAT\" report whole --out whole.html").code == 0);
  CHECK(holds(slurp(dir.path("whole.html")), "top-1 on the test split"));

  REQUIRE(run(distill + "part --resume").code == 0);
  CHECK((slurp(dir.path("part/model.safetensors")) == slurp(dir.path("whole/model.safetensors"))));
}

TEST_CASE("distill: what cannot work is refused before any hour is spent") {
  const TempDir dir;
  write_cifar(dir, 80, 20);
  const auto run = [&](const std::string& arguments) {
    return shell(dir,
                 "export PLEAT_DATA=.; \"$PLEAT\" distill " + arguments + " --batch 16 --epochs 1 --out out --quiet");
  };
  save_model(dir.path("net.safetensors"), network());
  Model other = network();
  other.mean = {0, 0, 0};
  save_model(dir.path("other.safetensors"), other);
  REQUIRE(shell(dir,
                "\"$PLEAT\" fold resnet20 --threshold 1 --merge none --out r20.safetensors --quiet && \"$PLEAT\" fold "
                "resnet20 --classes 7 --threshold 1 --merge none --out seven.safetensors --quiet")
              .code == 0);
  std::filesystem::create_directories(dir.path("grey"));
  std::filesystem::create_directories(dir.path("empty"));
  for (int i = 0; i < 20; ++i) {
    std::ofstream file(dir.path("grey/" + std::to_string(i) + ".ppm"), std::ios::binary);
    file << "P6\n8 8\n255\n" << std::string(8 * 8 * 3, 'x');
  }
  const std::string net = "net.safetensors --teacher ", r20 = "r20.safetensors --teacher r20.safetensors --data ";
  check_failure(run("r20.safetensors --data cifar10"), 2, {"--teacher"});
  check_failure(run("r20.safetensors --teacher seven.safetensors --data cifar10"), 1,
                {"seven.safetensors", "7 outputs", "10"});
  check_failure(run(net + "other.safetensors --data grey"), 1, {"other.safetensors", "normalises"});
  check_failure(run(net + "r20.safetensors --data grey"), 1, {"r20.safetensors", "10 outputs, expected 3"});
  check_failure(run(r20 + "grey"), 1, {"grey", "of one colour"});
  check_failure(run(r20 + "empty"), 1, {"empty", "holds no"});
  check_failure(run("seven.safetensors --teacher seven.safetensors --data cifar10 --val cifar10"), 1, {"cifar10", "7"});
  check_failure(run(r20 + "cifar10 --freeze 'nothing.*'"), 1, {"freeze", "nothing.*"});
  CHECK(!std::filesystem::exists(dir.path("out/model.safetensors")));
}

TEST_CASE("calibrate: batch norms get the statistics of what they read, one after the other") {
  const TempDir dir;
  write_cifar(dir, 100, 20);
  const Dataset data = load_dataset(dir.path("cifar-10-batches-bin"), Split::train);
  Model model = testing::real_numbers(parse_graph(R"(input image : channels=3 height=32 width=32
conv2d a <- image : out=4 kernel=3 pad=1
batch_norm a.norm <- a
alpha_act a.act <- a.norm : s=relu
conv2d b <- a.act : out=2 kernel=1
batch_norm b.norm <- b
global_avg_pool pool <- b.norm
)"),
                                      3);
  model.mean = {0.5f, 0.4f, 0.3f};
  model.std = {0.2f, 0.3f, 0.4f};
  const Model before = model;
  CHECK(calibrate(model, data, {.pictures = 1000, .batch = 50, .quiet = true}) == 100);
  CHECK(model.tensors.at("a.weight").values == before.tensors.at("a.weight").values);
  // A norm gives its own bias on average: pooled over all pictures, the network gives the last norm's.
  Engine engine(model, EngineOptions{.batch = 100, .tune = false});
  Loader loader(data, picture_format(model), {.batch = 100});
  loader.start_epoch(0);
  std::ranges::copy(loader.next()->images, engine.input().begin());
  const auto out = engine.run();
  for (int c = 0; c < 2; ++c) {
    double mean = 0;
    for (int i = 0; i < 100; ++i) mean += out[i * 2 + c] / 100;
    CHECK(mean == Approx(model.tensors.at("b.norm.bias").values[c]).epsilon(0.02));
    CHECK(model.tensors.at("b.norm.running_mean").values[c] != before.tensors.at("b.norm.running_mean").values[c]);
  }
  Model none = network();
  none = with_frozen_norms(none);
  CHECK(holds(error_of<std::invalid_argument>([&] { calibrate(none, data, {}); }), "no batch norm"));
  CHECK(holds(error_of<std::invalid_argument>([&] { calibrate(model, data, {.batch = 200}); }), "one batch of 200"));

  save_model(dir.path("in.safetensors"), before);
  const Result result = shell(
      dir,
      "export PLEAT_DATA=.; \"$PLEAT\" calibrate in.safetensors --data cifar10 --out out.safetensors --quiet --json");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.json()["images"] == 100);
  CHECK(load_model(dir.path("out.safetensors")).tensors.at("a.norm.running_var").values ==
        model.tensors.at("a.norm.running_var").values);
}

TEST_CASE("shrink: the cheapest drops for what they save come first, until they suffice") {
  const auto drop = [](int first, int last, double error, double seconds) {
    return FittedDrop{.first = first, .last = last, .feature_error = error, .seconds = seconds};
  };
  // Saved of 10: 2 at 0.015 each, 1 at 0.02, and one that is slower. Two touch the first.
  const FittedDrops measured{.seconds = 10,
                             .drops = {drop(0, 0, 0.03, 8), drop(0, 1, 0.017, 9), drop(1, 1, 0.016, 9),
                                       drop(2, 2, 0.02, 9), drop(3, 3, 0.001, 11)}};
  CHECK(choose_fitted_drops(measured, 5, 1) == "#####");
  CHECK(choose_fitted_drops(measured, 5, 1.1) == ".####");
  CHECK(choose_fitted_drops(measured, 5, 1.3) == ".#.##");
  CHECK(holds(error_of<std::runtime_error>([&] { choose_fitted_drops(measured, 5, 1.5); }), "1.42857 times as fast"));
}

TEST_CASE("shrink: one command makes a network faster, and goes on where it was stopped") {
  const TempDir dir;
  write_cifar(dir, 160, 40);
  const auto run = [&](const std::string& arguments) {
    return shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + arguments + " --threads 2 --seed 5 --quiet --json");
  };
  const std::string base = "base/model.safetensors";
  REQUIRE(run("train resnet20 --data cifar10 --epochs 1 --batch 16 --out base").code == 0);
  const std::string shrink = "shrink " + base + " --data cifar10 --val cifar10 --min-speedup 1.02 --hours 0.0001 " +
                             "--pictures 100 --scan-pictures 60 --seconds 0.2 --tune off --out ";
  const Result result = run(shrink + "small.safetensors");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const nlohmann::json json = result.json();
  const std::string mask = json["mask"];
  CHECK(mask.find('.') != std::string::npos);
  CHECK(json["max_rel_diff"].get<double>() < 1e-4);
  CHECK(json["images"] == 40);
  const Model small = load_model(dir.path("small.safetensors"));
  CHECK(small.notes.at("fold.mask") == mask);
  CHECK(small.notes.at("fold.fit") != "0");
  CHECK(depth(small.graph) == depth(load_model(dir.path(base)).graph) - std::ranges::count(mask, '.'));
  // Called again, it goes on with the folder's run, which is finished, and writes the same file.
  const std::string bytes = slurp(dir.path("small.safetensors"));
  fs::remove(dir.path("small.safetensors"));
  REQUIRE(run(shrink + "small.safetensors").code == 0);
  CHECK((slurp(dir.path("small.safetensors")) == bytes));
  check_failure(
      shell(dir, "\"$PLEAT\" shrink " + base + " --data nowhere --min-speedup 1.1 --out b.safetensors --quiet"), 1,
      {"nowhere"});
}
