// Every nonlinearity on every path through a network: text form, training fused and by itself, folding, the engine's
// kernels. Training's kernels by themselves are in tests/ops_test.cpp, the export to ONNX in tests/onnx_test.cpp.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/simd/instruction_set.hpp"
#include "fold/engine/engine.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "models/mobilenet_v2.hpp"
#include "models/resnet.hpp"
#include "ops/exec/exec.hpp"
#include "ops/spec.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

constexpr int64_t kBatch = 3;
constexpr double kAlphas[] = {0, 0.3, 1};

// The network with every activation of this nonlinearity, and every alpha of this value.
Model with_activations(Graph graph, Nonlinearity s, double alpha) {
  for (Node& node : graph.nodes)
    if (std::holds_alternative<AlphaAct>(node.op)) std::get<AlphaAct>(node.op).s = s;
  Model model = real_numbers(graph, 5);
  for (const Parameter& p : parameters(graph))
    if (p.role == Role::alpha) model.tensors.at(p.name).values = {static_cast<float>(alpha)};
  model.mean.assign(std::get<Input>(graph.nodes[0].op).channels, 0.0f);
  model.std.assign(model.mean.size(), 1.0f);
  return model;
}

std::vector<float> pictures(const Graph& graph) {
  std::vector<float> x(infer_shapes(graph, kBatch)[0].size());
  Rng rng(1, 7);
  for (float& v : x) v = static_cast<float>(3 * rng.normal());  // beyond all kinks
  return x;
}

std::vector<float> run_engine(const Model& model, const std::vector<float>& x, std::string* kernels = nullptr) {
  Engine engine(model, {.batch = kBatch, .tune = false});
  std::ranges::copy(x, engine.input().begin());
  engine.run();
  const auto y = engine.run();
  if (kernels)
    for (const Engine::StepInfo& step : engine.steps()) *kernels += step.kind + " by " + step.kernel + "; ";
  return {y.begin(), y.end()};
}

std::vector<float> run_native(const Model& model, const std::vector<float>& x) {
  Tensors tensors = model.tensors;
  Exec exec(model.graph, tensors, {.batch = kBatch, .kernels = Kernels::native});
  const auto y = exec.run(x);
  return {y.begin(), y.end()};
}

// Bodies of networks that the engine computes by different kernels.
const std::string kInput = "input x : channels=4 height=12 width=11\n";
const std::string kDirect = "conv2d c <- x : out=5 kernel=3 pad=1 bias=1\nalpha_act y <- c : alpha=a\n";
const std::string kSum =
    "conv2d r <- x : out=6\nconv2d c <- x : out=6 kernel=3 pad=1\nadd s <- c r\nalpha_act y <- s : alpha=a\n";
const std::string kDepthwise =
    "depthwise_conv2d c <- x : kernel=3 pad=1\nbatch_norm b <- c\nalpha_act y <- b : alpha=a\n";
const std::string kLinear =
    "flatten f <- x\nlinear l <- f : out=7\nalpha_act a <- l : alpha=a\nlinear y <- a : out=3\n";
const std::string kAlone = "batch_norm b <- x\nmax_pool2d m <- b : kernel=2 stride=2\nalpha_act y <- m : alpha=a\n";
const std::string kWinograd =
    "conv2d r <- x : out=64 bias=1\nconv2d c <- r : out=64 kernel=3 pad=1 bias=1\n"
    "alpha_act y <- c : alpha=a\n";
const std::string kProduct =
    "conv2d r <- x : out=16 kernel=5 stride=5\nconv2d c <- r : out=24 kernel=3 pad=1 bias=1\n"
    "alpha_act y <- c : alpha=a\n";
const std::string kBlock =
    "conv2d r <- x : out=8 bias=1\nconv2d e <- r : out=40 bias=1\nalpha_act ea <- e : alpha=a\n"
    "depthwise_conv2d d <- ea : kernel=3 pad=1 bias=1\nalpha_act da <- d : alpha=b\n"
    "conv2d p <- da : out=8 bias=1\nadd s <- p r\nalpha_act y <- s : alpha=k\n";
const std::string* const kBodies[] = {&kDirect, &kSum, &kDepthwise, &kLinear, &kAlone, &kWinograd, &kProduct, &kBlock};

}  // namespace

TEST_CASE("nonlinearity: the text form knows every name and refuses others") {
  for (const NonlinearityRow& s : kNonlinearities) {
    CAPTURE(s.name);
    const std::string text =
        concat("input x : channels=1 height=2 width=2\nalpha_act y <- x : s=", s.name, " alpha=a\n");
    CHECK(std::get<AlphaAct>(parse_graph(text).nodes[1].op).s == s.s);
    CHECK(to_text(parse_graph(text)) == text);
    CHECK(std::ranges::count(kNonlinearities, std::string(s.name), [](const auto& r) { return std::string(r.name); }) ==
          1);
    CHECK(depth(parse_graph(text)) == 2);
  }
  for (const char* name : {"tanh", "ReLU", "relu7", ""})
    CHECK(holds(error_of<std::invalid_argument>([&] {
                  parse_graph(concat("input x : channels=1 height=2 width=2\nalpha_act y <- x : s=", name, "\n"));
                }),
                concat("graph line 2: alpha_act 'y': bad value 's=", name, "'")));
}

TEST_CASE("nonlinearity: activations without alpha count for the depth, ReLU6 excepted") {
  for (const NonlinearityRow& s : kNonlinearities) {
    CAPTURE(s.name);
    const Graph graph =
        parse_graph(concat("input x : channels=1 height=2 width=2\nalpha_act y <- x : s=", s.name, '\n'));
    CHECK(depth(graph) == (s.s == Nonlinearity::relu6 ? 1 : 2));
  }
}

TEST_CASE("nonlinearity: the engine agrees with the naive evaluator behind every kind of kernel") {
  for (const NonlinearityRow& s : kNonlinearities)
    for (const double alpha : kAlphas)
      for (const std::string* body : kBodies) {
        CAPTURE(s.name);
        CAPTURE(alpha);
        CAPTURE(*body);
        const Model model = with_activations(parse_graph(kInput + *body), s.s, alpha);
        const std::vector<float> x = pictures(model.graph);
        const Values expected = reference_run(model.graph, model.tensors, {x.begin(), x.end()}, kBatch).back();
        std::string kernels;
        CHECK(difference(run_engine(model, x, &kernels), expected) < 3e-6);
        CHECK(difference(run_native(model, x), expected) < 3e-6);
        CAPTURE(kernels);
        const bool has_tiles = has_tile_kernels<float>();
        if (body == &kWinograd) CHECK(holds(kernels, "pleat winograd") == has_tiles);
        if (body == &kBlock)
          CHECK(holds(kernels, "conv2d+depthwise_conv2d+conv2d") == (has_tiles && s.clamp.has_value()));
        if (body == &kDirect && alpha == 0) CHECK(holds(kernels, "conv2d+alpha_act by"));
      }
}

TEST_CASE("nonlinearity: what is fused in training computes what is not") {
  // The shortcut, which leaves its input as it is, keeps the executor from fusing the activation.
  const std::string fused = "conv2d c <- x : out=20 kernel=3 pad=1\nbatch_norm b <- c\nalpha_act y <- b : alpha=a\n";
  const std::string apart =
      "conv2d c <- x : out=20 kernel=3 pad=1\nbatch_norm b <- c\nshortcut s <- b : out=20\n"
      "alpha_act y <- s : alpha=a\n";
  const std::string head = "global_avg_pool p <- y\nlinear l <- p : out=3\n";
  for (const NonlinearityRow& s : kNonlinearities)
    for (const double alpha : kAlphas)
      for (const bool bf16 : {false, true}) {
        if (bf16 && !cpu_has_bf16()) continue;
        CAPTURE(std::string(s.name));
        CAPTURE(alpha);
        CAPTURE(bf16);
        std::vector<Tensors> gradients;
        std::vector<std::vector<float>> outputs;
        for (const std::string& body : {fused, apart}) {
          Model model = with_activations(parse_graph(kInput + body + head), s.s, alpha);
          // What is apart is rounded to bf16 before the activation, so that a value could come to lie on the other side
          // of a place where the slope jumps (hard_swish's at -3 and 3). Smaller values stay away from there.
          if (bf16)
            for (float& gamma : model.tensors.at("b.weight").values) gamma *= 0.4f;
          Exec exec(model.graph, model.tensors,
                    {.batch = kBatch, .training = true, .dtype = bf16 ? Dtype::bf16 : Dtype::f32});
          std::ranges::copy(pictures(model.graph), exec.input().begin());
          exec.forward();
          for (std::size_t i = 0; i < exec.output_gradient().size(); ++i)
            exec.output_gradient()[i] = 1 + static_cast<float>(i % 4);
          exec.backward();
          gradients.push_back(exec.gradients());
          outputs.emplace_back(exec.output().begin(), exec.output().end());
        }
        const double tolerance = bf16 ? 0.03 : 2e-5;
        CHECK(difference(outputs[0], outputs[1]) < tolerance);
        for (const auto& [name, gradient] : gradients[0]) {
          CAPTURE(name);
          if (name != "c.bias") CHECK(difference(gradient.values, gradients[1].at(name).values) < tolerance);
        }
      }
}

TEST_CASE("nonlinearity: networks of every one, folded with random masks, compute what they did") {
  const Graph graphs[] = {resnet_cifar(20, Input{3, 15, 13}, 10, false),
                          mobilenet_v2(0.25, true, Input{3, 21, 18}, 10)};
  for (const Graph& graph : graphs)
    for (const NonlinearityRow& s : kNonlinearities) {
      CAPTURE(s.name);
      const Model model = with_activations(graph, s.s, 0.3);
      const std::vector<float> x = pictures(graph);
      Rng rng(static_cast<uint64_t>(s.s), 9);
      std::string mask(foldable_activations(model).size(), '#');
      for (char& cell : mask) cell = rng.below(2) ? '#' : '.';
      CAPTURE(mask);
      const std::vector<float> dropped = run_native(drop_activations(model, mask), x);
      const Model folded = fold(model, {.mask = mask, .max_kernel = 5}).model;
      CHECK(difference(run_native(folded, x), dropped) < 1e-4);
      CHECK(difference(run_engine(folded, x), dropped) < 1e-4);
      CHECK(difference(run_engine(model, x), dropped) > 1e-3);
    }
}
