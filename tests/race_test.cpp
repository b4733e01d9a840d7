// What several threads do at once: parallel loops, the engine, training steps and the loader.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "core/parallel.hpp"
#include "core/parallel_sum.hpp"
#include "core/rng.hpp"
#include "data/loader.hpp"
#include "fold/engine/engine.hpp"
#include "models/models.hpp"
#include "ops/exec/exec.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/spec.hpp"
#include "tests/compare.hpp"
#include "tools/train/sgd.hpp"

namespace pleat::testing {
namespace {

constexpr int kThreads = 4;

void fill(std::span<float> x, uint64_t seed) {
  Rng rng(seed, 1000);
  for (float& v : x) v = static_cast<float>(rng.normal());
}

}  // namespace

TEST_CASE("races: parallel loops, each after the one before") {
  const Threads restore;
  set_num_threads(kThreads);
  constexpr int64_t kSize = 1000;
  std::vector<int64_t> values(kSize), sums(kSize);
  for (int round = 0; round < 20; ++round) {
    parallel_for(kSize, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) values[i] = i + round;
    });
    // Each loop reads what other threads have written in the one before.
    for (int step = 0; step < 10; ++step) {
      parallel_for(kSize, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) sums[i] = values[kSize - 1 - i];
      });
      parallel_for(kSize, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) values[i] = sums[kSize - 1 - i] + 1;
      });
    }
    for (int64_t i = 0; i < kSize; ++i) CHECK(values[i] == i + round + 10);
  }
  CHECK(parallel_sum(kSize, [&](int64_t begin, int64_t end) {
          double sum = 0;
          for (int64_t i = begin; i < end; ++i) sum += static_cast<double>(i);
          return sum;
        }) == kSize * (kSize - 1) / 2);
}

TEST_CASE("races: the engine, alone and called by several threads at once") {
  const Threads restore;
  set_num_threads(2);
  // Inverted residuals, Winograd's convolutions, products, and what oneDNN computes between them.
  for (const char* name : {"mobilenet_v2_1.0_cifar", "resnet20"}) {
    Model model;
    model.graph = make_model(name, {3, 32, 32}, 10);
    model.tensors = initial_tensors(model.graph, 1);
    Engine engine(model, {.batch = 2, .tune = false});
    fill(engine.input(), 2);
    const std::span<const float> y = engine.run();
    const std::vector<float> expected(y.begin(), y.end());
    std::vector<std::jthread> callers;
    std::vector<int> same(3);
    for (int i = 0; i < 3; ++i)
      callers.emplace_back([&, i] {
        const ThreadScope scope(2);
        Engine shared = engine.share();
        fill(shared.input(), 2);
        same[i] = std::ranges::equal(shared.run(), expected) && std::ranges::equal(shared.run(), expected);
      });
    callers.clear();
    CHECK(same == std::vector{1, 1, 1});
  }
}

TEST_CASE("races: training steps") {
  const Threads restore;
  set_num_threads(kThreads);
  constexpr int64_t kBatch = 8;
  const Graph graph = make_model("mobilenet_v2_1.0_cifar", {3, 32, 32}, 10);
  Tensors tensors = initial_tensors(graph, 1), velocities;
  Exec exec(graph, tensors, {.batch = kBatch, .training = true, .piece = 4});
  for (const auto& [name, gradient] : exec.gradients()) velocities[name] = Tensor(gradient.shape);
  const std::vector<int32_t> labels{0, 1, 2, 3, 4, 5, 6, 7};
  for (int step = 0; step < 3; ++step) {
    fill(exec.input(), step);
    exec.forward();
    cross_entropy_backward<float>(exec.output_gradient(), exec.output(), labels, 10, 0.1);
    exec.backward();
    for (const auto& [name, gradient] : exec.gradients())
      sgd_step(tensors.at(name).values, gradient.values, velocities.at(name).values, 0.05, 1e-4, {});
  }
  CHECK(std::ranges::all_of(exec.output(), [](float v) { return std::isfinite(v); }));
}

TEST_CASE("races: the loader, read to the end and given up on the way") {
  constexpr int kImages = 100;
  Dataset set{"numbered", 64, 48, 3, {}, {}, std::vector<std::string>(kImages, "")};
  set.images.resize(kImages * set.image_size(), 100);
  set.labels.resize(kImages);
  const PictureFormat format{set.height, set.width, set.channels, {0.5f, 0.5f, 0.5f}, {0.2f, 0.2f, 0.2f}};
  Loader loader(set, format,
                {.batch = 8, .augment = Augment{}, .shuffle = true, .drop_last = true, .seed = 7, .threads = kThreads});
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    loader.start_epoch(epoch);
    int64_t batches = 0;
    float sum = 0;
    while (const Batch* batch = loader.next()) {
      for (const float v : batch->images) sum += v;
      if (++batches == 5 && epoch % 2 == 1) break;  // the workers are on their way still
    }
    CHECK(std::isfinite(sum));
    CHECK(batches == (epoch % 2 == 1 ? 5 : loader.batches()));
  }
}

}  // namespace pleat::testing
