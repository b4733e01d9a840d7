// Compares the engine with the naive evaluator for every kind of op, every fusion and random networks, and checks its
// use of memory.
#include "fold/engine/engine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "fold/engine/fusion.hpp"
#include "fold/fold.hpp"
#include "models/models.hpp"
#include "ops/spec.hpp"
#include "tests/alloc_count.hpp"
#include "tests/error_of.hpp"
#include "tests/reference.hpp"
#include "tests/tile_kernels.hpp"

using namespace pleat;

namespace {

/// A model with random parameters, none of which is 0 or 1; alphas are 0.3.
Model random_model(const Graph& graph, uint64_t seed) {
  Model model;
  model.graph = graph;
  uint64_t stream = 0;
  for (const Parameter& parameter : parameters(graph)) {
    Tensor tensor(parameter.shape);
    Rng rng(seed, ++stream);
    const double fan_in = double(tensor.values.size()) / double(parameter.shape[0]);
    for (float& v : tensor.values) switch (parameter.role) {
        case Role::weight:
          v = static_cast<float>(rng.normal() * std::sqrt(2 / fan_in));
          break;
        case Role::norm_weight:
        case Role::running_var:
          v = static_cast<float>(0.5 + rng.uniform());
          break;
        case Role::bias:
        case Role::norm_bias:
        case Role::running_mean:
          v = static_cast<float>(rng.uniform() - 0.5);
          break;
        case Role::alpha:
          v = 0.3f;
          break;
      }
    model.tensors[parameter.name] = std::move(tensor);
  }
  const Input& input = std::get<Input>(graph.nodes[0].op);
  model.mean.assign(input.channels, 0.0f), model.std.assign(input.channels, 1.0f);
  return model;
}

void fill(std::span<float> x, uint64_t seed) {
  Rng rng(seed, 1000);
  for (float& v : x) v = static_cast<float>(3 * rng.normal());  // with values beyond the 6 of ReLU6
}

/// The greatest difference between the outputs of the engine and of the naive evaluator, divided by the greatest
/// output. It is taken of a second call, because a first call would not show that the input or a constant was
/// overwritten.
double difference(const Model& model, int64_t batch, Dtype dtype = Dtype::f32) {
  Engine engine(model, {.batch = batch, .dtype = dtype, .tune = false});
  fill(engine.input(), 5);
  const std::vector<double> x(engine.input().begin(), engine.input().end());
  engine.run();
  const std::span<const float> y = engine.run();
  const std::vector<double> expected = testing::reference_run(model.graph, model.tensors, x, batch).back();
  REQUIRE(y.size() == expected.size());
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    REQUIRE(std::isfinite(y[i]));
    error = std::max(error, std::abs(y[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return error / scale;
}

constexpr const char* kCases[] = {
    // Networks of one op, with odd sizes.
    "conv2d y <- x : out=5 kernel=3 stride=1 pad=1",
    "conv2d y <- x : out=5 kernel=3 stride=2 pad=0,0,1,1 bias=1",
    "conv2d y <- x : out=6 kernel=5 stride=3 pad=2 groups=3 bias=1",
    "conv2d y <- x : out=5 kernel=7 stride=2 pad=3 bias=1",
    "conv2d y <- x : out=5 kernel=1 stride=1 pad=1 bias=1",  // padding as wide as the kernel
    "conv2d y <- x : out=5 kernel=3 stride=2 pad=3,4,0,1",
    "depthwise_conv2d y <- x : kernel=3 stride=1 pad=1 bias=1",
    "depthwise_conv2d y <- x : kernel=5 stride=2 pad=1,1,2,2",
    "depthwise_conv2d y <- x : kernel=3 stride=1 pad=4",
    "border_conv2d y <- x : out=5 kernel=5 stride=2 pad=2,1,1,2 ring=1,2,1,1 reach=2,1,1,3",
    "border_conv2d y <- x : out=20 kernel=3 stride=1 pad=1 ring=1",
    "conv2d c <- x : out=4 kernel=5 pad=2\nborder_conv2d b <- x : out=4 kernel=5 pad=2 ring=1 reach=1\nadd s <- c b\n"
    "alpha_act y <- s : s=relu6",
    "batch_norm y <- x",
    "alpha_act y <- x : s=relu",
    "alpha_act y <- x : s=relu alpha=a",
    "alpha_act y <- x : s=relu6",
    "alpha_act y <- x : s=relu6 alpha=a",
    "max_pool2d y <- x : kernel=2 stride=2",
    "max_pool2d y <- x : kernel=3 stride=2 pad=1",
    "avg_pool2d y <- x : kernel=2 stride=2",
    "avg_pool2d y <- x : kernel=3 stride=2 pad=1",
    "global_avg_pool y <- x",
    "flatten y <- x",
    "flatten f <- x\nlinear y <- f : out=7",
    "flatten f <- x\nlinear y <- f : out=7 bias=0",
    "shortcut y <- x : out=8 stride=2",
    "shortcut y <- x : out=3 stride=1 pad=-1,-2,-1,0",
    "add y <- x x",
    // Everything that is fused.
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nalpha_act y <- b : s=relu alpha=a",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nalpha_act y <- b : s=relu6",
    "conv2d c <- x : out=4 kernel=3 pad=1 bias=1\nalpha_act y <- c : s=relu6 alpha=a",
    "depthwise_conv2d c <- x : kernel=3 pad=1\nbatch_norm b <- c\nalpha_act y <- b : s=relu6 alpha=a",
    "alpha_act r <- x : s=relu\nbatch_norm b <- r\nalpha_act y <- b : s=relu alpha=a",
    "global_avg_pool g <- x\nlinear l <- g : out=4\nalpha_act a <- l : s=relu alpha=s\nlinear y <- a : out=3",
    // A basic block, plain, with option A and with a projection, and with both orders of the addition's operands.
    "alpha_act r <- x : s=relu\nconv2d c <- r : out=3 kernel=3 pad=1\nalpha_act a <- c : s=relu alpha=p\n"
    "conv2d d <- a : out=3 kernel=3 pad=1\nadd s <- d r\nalpha_act y <- s : s=relu alpha=q",
    "conv2d c <- x : out=6 kernel=3 stride=2 pad=1\nalpha_act a <- c : s=relu alpha=p\n"
    "conv2d d <- a : out=6 kernel=3 pad=1\nshortcut t <- x : out=6 stride=2\nadd s <- t d\n"
    "alpha_act y <- s : s=relu alpha=q",
    "conv2d c <- x : out=6 kernel=3 stride=2 pad=1\nconv2d t <- x : out=6 stride=2\nadd s <- c t\n"
    "alpha_act y <- s : s=relu6 alpha=q",
    // The value of the skip is kept while the whole main branch is computed.
    "shortcut t <- x : out=6 stride=2\nconv2d c <- x : out=6 kernel=3 stride=2 pad=1\nalpha_act a <- c : s=relu\n"
    "conv2d d <- a : out=6 kernel=3 pad=1\nadd y <- d t",
    // Sums that must not overwrite their operand: the input, a value that the op itself reads, a value that is read
    // later, and
    // a value added to itself.
    "conv2d c <- x : out=3 kernel=3 pad=1\nadd s <- c x\nalpha_act y <- s : s=relu",
    "alpha_act r <- x : s=relu\nconv2d c <- r : out=3 kernel=3 pad=1\nadd s <- c r\nalpha_act y <- s : s=relu",
    "alpha_act r <- x : s=relu\nconv2d c <- x : out=3 kernel=3 pad=1\nadd s <- c r\nadd y <- s r",
    "alpha_act r <- x : s=relu\nconv2d c <- x : out=3 kernel=3 pad=1\nconv2d d <- r : out=3 kernel=3 pad=1\n"
    "add s <- c r\nadd y <- s d",
    "conv2d c <- x : out=3 kernel=3 pad=1\nadd y <- c c",
    // Values that are read twice must keep their memory.
    "conv2d c <- x : out=3 kernel=3 pad=1\nalpha_act a <- c : s=relu\nadd y <- a c",
    "conv2d c <- x : out=3 kernel=3 pad=1\nbatch_norm b <- c\nalpha_act a <- b : s=relu6\nadd s <- a b\nadd y <- s c",
    // Inverted residual blocks with a skip, without expansion, with asymmetric padding, a larger kernel and an
    // activation at the
    // end; and a block that must not be fused, because another node reads a value inside it.
    ("conv2d r <- x : out=8 bias=1\nconv2d c <- r : out=40 bias=1\nalpha_act a <- c : s=relu6\n"
     "depthwise_conv2d d <- a : kernel=3 pad=1 bias=1\nalpha_act b <- d : s=relu6\nconv2d p <- b : out=8 bias=1\n"
     "add y <- p r"),
    ("conv2d r <- x : out=24\ndepthwise_conv2d d <- r : kernel=3 stride=2 pad=0,0,1,1\nalpha_act b <- d : s=relu "
     "alpha=k\n"
     "conv2d p <- b : out=10 bias=1\nalpha_act y <- p : s=relu6 alpha=q"),
    ("conv2d r <- x : out=6\nconv2d c <- r : out=18\nalpha_act a <- c : s=relu6 alpha=k\n"
     "depthwise_conv2d d <- a : kernel=5 stride=2 pad=2\nalpha_act b <- d : s=relu6 alpha=k\nconv2d y <- b : out=20"),
    ("conv2d r <- x : out=4\nconv2d c <- r : out=16\nalpha_act a <- c : s=relu6\n"
     "depthwise_conv2d d <- a : kernel=3 pad=1\nconv2d p <- d : out=16\nadd y <- p a"),
    // Enough channels for Winograd with a batch of five, and few enough pixels for a product with a batch of one.
    ("conv2d r <- x : out=80 bias=1\nalpha_act q <- r : s=relu\nconv2d c <- q : out=64 kernel=3 pad=1 bias=1\n"
     "alpha_act a <- c : s=relu6 alpha=k\nconv2d d <- a : out=80 kernel=3 pad=1\nadd s <- d q\n"
     "alpha_act y <- s : s=relu alpha=p"),
    ("conv2d r <- x : out=16 kernel=3 stride=3\nconv2d c <- r : out=24 kernel=3 pad=1 bias=1\n"
     "alpha_act y <- c : s=relu6 alpha=k"),
};

Graph small_graph(const std::string& body) {
  return parse_graph("input x : channels=3 height=9 width=7\n" + body + "\n");
}

/// A random network of all kinds of ops, with skips between any two values of the same shape. At the end several heads
/// are added.
Graph random_graph(uint64_t seed) {
  Rng rng(seed);
  Graph graph;
  graph.add("x", Input{4, 8, 8}, {});
  std::vector<Nhwc> shapes = {{1, 8, 8, 4}};
  const auto add = [&](const Op& op, std::vector<int> inputs) {
    std::vector<Nhwc> input_shapes;
    for (int input : inputs) input_shapes.push_back(shapes[input]);
    shapes.push_back(testing::reference_shape(op, input_shapes));
    return graph.add(concat("n", graph.nodes.size()), op, std::move(inputs));
  };
  const auto pick = [&](std::initializer_list<int> choices) { return choices.begin()[rng.below(choices.size())]; };
  for (int step = 0; step < 14; ++step) {
    // Mostly one of the last values is read, which makes the network deep rather than wide.
    const int n = static_cast<int>(graph.nodes.size());
    const int x =
        rng.below(4) == 0 ? static_cast<int>(rng.below(n)) : n - 1 - static_cast<int>(rng.below(std::min(n, 2)));
    const Nhwc s = shapes[x];
    const int c = static_cast<int>(s.c);
    const auto pad = [&](int k) { return Padding::uniform(k / 2); };
    switch (rng.below(11)) {
      case 0:
      case 1: {
        const int k = s.h >= 5 ? pick({1, 3, 5}) : 1;
        add(Conv2d{pick({4, 4, 8}), k, s.h >= 5 ? pick({1, 1, 2}) : 1, pad(k), c % 2 == 0 ? pick({1, 1, 2}) : 1, true},
            {x});
        break;
      }
      case 2:
        add(DepthwiseConv2d{3, 1, Padding::uniform(pick({1, 3})), rng.below(2) == 0}, {x});
        break;
      case 3:
        add(BatchNorm{}, {x});
        break;
      case 4:
      case 5:
        add(AlphaAct{kNonlinearities[rng.below(kNonlinearities.size())].s,
                     rng.below(2) == 0 ? concat("alpha", step) : ""},
            {x});
        break;
      case 6:
        s.h >= 3 ? add(MaxPool2d{3, pick({1, 2}), pad(3)}, {x}) : add(AlphaAct{}, {x});
        break;
      case 7:
        s.h >= 3 ? add(AvgPool2d{3, pick({1, 2}), pad(3)}, {x}) : add(AlphaAct{}, {x});
        break;
      case 8:
        add(Shortcut{c + pick({0, 4}), s.h >= 5 ? pick({1, 2}) : 1, {}}, {x});
        break;
      default:
        for (int other = n - 1; other >= 0; --other)
          if (other != x && shapes[other] == s) {
            add(Add{}, {x, other});
            break;
          }
    }
  }
  std::vector<int> heads;
  const auto readers = consumers(graph);
  const int inner = static_cast<int>(graph.nodes.size());
  for (int i = 0; i < inner; ++i) {
    if (!readers[i].empty()) continue;
    const int flat = shapes[i].h <= 2 ? add(Flatten{}, {i}) : add(GlobalAvgPool{}, {i});
    heads.push_back(add(Linear{5, true}, {flat}));
  }
  int sum = heads[0];
  for (std::size_t i = 1; i < heads.size(); ++i) sum = add(Add{}, {sum, heads[i]});
  return graph;
}

}  // namespace

TEST_CASE("engine: every op and every fusion agrees with the naive evaluator") {
  for (const char* text : kCases)
    for (const int64_t batch : {1, 5}) {
      CAPTURE(text);
      CAPTURE(batch);
      CHECK(difference(random_model(small_graph(text), 1), batch) < 2e-6);
    }
}

TEST_CASE("engine: untimed, the last two of these cases are computed by Winograd's algorithm and as a product") {
  if (testing::lacks_tile_kernels<float>()) return;
  const auto kernels = [](const char* text, int64_t batch, Dtype dtype = Dtype::f32) {
    std::string all;
    Engine engine(random_model(small_graph(text), 1), {.batch = batch, .dtype = dtype, .tune = false});
    for (const Engine::StepInfo& step : engine.steps()) all += step.kernel + "; ";
    return all;
  };
  const auto *winograd = std::end(kCases) - 2, *product = std::end(kCases) - 1;
  CHECK(holds(kernels(*winograd, 5), "pleat winograd 4x4"));
  if (has_tile_kernels<Bf16>()) CHECK(holds(kernels(*winograd, 5, Dtype::bf16), "pleat winograd 2x2"));
  CHECK(holds(kernels(*product, 1), "pleat product"));
}

// The value of each layer has eight bits, and the errors of several layers add up.
constexpr double kBf16Error = 0.03;

TEST_CASE("engine: bf16 agrees with the naive evaluator within the precision of its eight bits") {
  if (!cpu_has_bf16()) {
    MESSAGE("skipped: this CPU does not multiply bf16");
    return;
  }
  for (const char* body : kCases) {
    CAPTURE(body);
    for (const int64_t batch : {1, 5})
      CHECK(difference(random_model(small_graph(body), 7), batch, Dtype::bf16) < kBf16Error);
  }
}

TEST_CASE("engine: kernels chosen by measuring agree with the naive evaluator, and engines share the choice") {
  const Model model = random_model(make_model("mobilenet_v2_1.0_cifar", {3, 32, 32}, 10), 4);
  Engine engine(model);
  fill(engine.input(), 5);
  const std::vector<double> x(engine.input().begin(), engine.input().end());
  const std::span<const float> y = engine.run();
  const std::vector<float> logits(y.begin(), y.end());
  const std::vector<double> expected = testing::reference_run(model.graph, model.tensors, x, 1).back();
  for (std::size_t i = 0; i < logits.size(); ++i) CHECK(logits[i] == doctest::Approx(expected[i]).epsilon(1e-4));
  Engine other = engine.share();
  fill(other.input(), 6);
  other.run();
  CHECK(std::ranges::equal(engine.run(), logits));
  fill(other.input(), 5);
  CHECK(std::ranges::equal(other.run(), logits));
}

TEST_CASE("engine: random networks agree with the naive evaluator") {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const Graph graph = random_graph(seed);
    CAPTURE(to_text(graph));
    CHECK(difference(random_model(graph, seed), 1 + int64_t(seed % 3)) < 1e-5);
  }
}

TEST_CASE("engine: a ResNet block becomes two primitives, and everything in ResNet-20 is fused") {
  const Model model = random_model(make_model("resnet20", {3, 32, 32}, 10), 3);
  Engine engine(model, {.tune = false});
  for (const Engine::StepInfo& step : engine.steps()) CHECK(step.kind != "add");
  CHECK(engine.steps().size() == 19 + 2 + 2);  // convolutions, option A skips, pooling and classifier
  int64_t total = 0;
  for (const Engine::StepInfo& step : engine.steps()) total += step.macs;
  CHECK(total == macs(model.graph));
  CHECK(difference(model, 1) < 1e-5);
}

TEST_CASE("engine: a sum overwrites only values that nothing reads later") {
  const auto residuals = [](const char* body) {
    int count = 0;
    for (const Task& task : fuse(small_graph(body))) count += task.residual >= 0;
    return count;
  };
  CHECK(residuals("conv2d c <- x : out=3 kernel=3 pad=1\nadd y <- c x") == 0);
  CHECK(residuals("alpha_act r <- x\nconv2d c <- r : out=3 kernel=3 pad=1\nadd y <- c r") == 0);
  CHECK(residuals("alpha_act r <- x\nconv2d c <- x : out=3 kernel=3 pad=1\nadd y <- c r") == 1);
  CHECK(residuals("alpha_act r <- x\nconv2d c <- x : out=3\nadd s <- c r\nadd y <- s r") == 0);
  // d reads r and, fused with its own sum, runs after c's sum.
  CHECK(residuals("alpha_act r <- x\nconv2d c <- x : out=3\nconv2d d <- r : out=3\n"
                  "add s <- c r\nadd y <- d s") == 1);
}

TEST_CASE("engine: a call allocates nothing itself, and oneDNN allocates no buffers in it") {
  const Model model = random_model(make_model("resnet20", {3, 32, 32}, 10), 3);
  for (const Model& net : {model, fold(model, {.depth = 9}).model}) {
    Engine engine(net, {.batch = 2});
    fill(engine.input(), 1);
    engine.run();
    const testing::Allocations made = testing::count_allocations([&] { engine.run(); });
    CHECK(made.own == 0);
    CHECK(made.largest_inside_onednn < 4096);  // its table of arguments
  }
}

TEST_CASE("engine: two engines can run at the same time without disturbing each other") {
  const Model a = random_model(make_model("resnet20", {3, 32, 32}, 10), 1);
  const Model b = random_model(make_model("resnet20", {3, 32, 32}, 10, {.projection = true}), 2);
  Engine engines[] = {Engine(a, {.batch = 2}), Engine(b, {.batch = 3})};
  std::vector<std::vector<float>> alone;
  for (Engine& engine : engines) {
    fill(engine.input(), 7);
    const auto y = engine.run();
    alone.emplace_back(y.begin(), y.end());
  }
  std::atomic<int> different = 0;
  std::vector<std::thread> threads;
  for (int i : {0, 1})
    threads.emplace_back([&, i] {
      for (int round = 0; round < 10; ++round) different += !std::ranges::equal(engines[i].run(), alone[i]);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(different == 0);
}

TEST_CASE("engine: the error for a network that it cannot run names the node") {
  const Graph graph = small_graph("conv2d c <- x : out=4 kernel=3\nglobal_avg_pool y <- c");
  Model model = random_model(graph, 1);
  CHECK(error_of<std::invalid_argument>([&] { Engine(model, {.batch = 0}); }) ==
        "engine: batch is 0, expected at least 1");
  model.tensors.at("c.weight") = Tensor({4, 3, 5, 5});
  CHECK(error_of<std::invalid_argument>([&] { Engine engine(model); }).find("c.weight") != std::string::npos);
  model = random_model(graph, 1);
  model.tensors.erase("c.weight");
  CHECK(error_of<std::invalid_argument>([&] { Engine engine(model); }).find("c.weight") != std::string::npos);
  model = random_model(graph, 1);
  std::get<Input>(model.graph.nodes[0].op).height = 2;  // smaller than the window
  CHECK(error_of<std::invalid_argument>([&] { Engine engine(model); }).find("'c'") != std::string::npos);

  model = random_model(graph, 1);
  Engine engine(model);
  std::vector<double> seconds(1);
  CHECK_THROWS_AS(engine.run(seconds), std::invalid_argument);
  seconds.resize(engine.steps().size());
  engine.run(seconds);
  CHECK(std::ranges::all_of(seconds, [](double s) { return s > 0; }));
  const int threads = num_threads();
  set_num_threads(threads + 1);
  CHECK_THROWS_AS(engine.run(), std::invalid_argument);
  set_num_threads(threads);
}
