// The executor as a whole: its gradients for every way in which values are shared and ops are fused, its evaluation
// compared with the naive evaluator, repeatability, allocations, and which op is named when a number becomes NaN or
// infinite.
#include "ops/exec/exec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "core/simd/simd.hpp"
#include "ops/conv/choose_training_algorithm.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/spec.hpp"
#include "tests/alloc_count.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/reference.hpp"
#include "tests/tile_kernels.hpp"

using namespace pleat;

namespace {

constexpr int64_t kBatch = 3;
constexpr Kernels kBoth[] = {Kernels::native, Kernels::onednn};
const std::vector<int32_t> kLabels{2, 0, 1};

// The bodies of networks for an input x of shape [3, 7, 6, 4]; the head reads `y`.
constexpr const char* kBodies[] = {
    // A value with several readers, one that reads it twice, a batch norm whose own input is the residual, and a batch
    // norm that
    // reads the pictures.
    "conv2d c <- x : out=4 kernel=3 pad=1\nadd y <- c c",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nadd y <- b b",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nadd s <- b c\nalpha_act y <- s : s=relu alpha=a",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nadd s <- c b\nalpha_act t <- s : s=relu alpha=a\n"
    "add y <- t c",
    "batch_norm b <- x\nalpha_act y <- b : s=relu alpha=a",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nadd s <- b x\nalpha_act y <- s : s=relu alpha=a",
    "batch_norm b <- x\nadd y <- b x",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nalpha_act r <- b : s=relu6 alpha=a\nadd s <- r b\n"
    "conv2d d <- r : out=4 kernel=3 pad=1\nadd t <- s d\nadd y <- t r",
    // Sums of sums, whose gradients are passed on.
    "conv2d c <- x : out=4 kernel=1\nconv2d d <- x : out=4 kernel=3 pad=1\nadd s <- c d\nadd t <- s c\nadd y <- s t",
    // Two batch norms that are added, with and without an activation after the sum; alphas that two nodes share.
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nconv2d d <- x : out=4\nbatch_norm e <- d\nadd y <- b e",
    "conv2d c <- x : out=4 kernel=3 pad=1\nbatch_norm b <- c\nconv2d d <- x : out=4\nbatch_norm e <- d\nadd s <- e b\n"
    "alpha_act t <- s : s=relu alpha=a\nbatch_norm f <- t\nalpha_act y <- f : s=relu alpha=a",
    // Activations without batch norm, and each other kind of op.
    "conv2d c <- x : out=4 kernel=3 pad=1 groups=2 bias=1\nalpha_act y <- c : s=relu alpha=a",
    "conv2d c <- x : out=6 kernel=3 stride=2 pad=1,0,1,1\nalpha_act r <- c : s=relu\nshortcut s <- x : out=6 stride=2\n"
    "add y <- r s",
    "depthwise_conv2d c <- x : kernel=3 pad=1 bias=1\nbatch_norm b <- c\nalpha_act r <- b : s=relu6 alpha=a\n"
    "depthwise_conv2d y <- r : kernel=3 stride=2 pad=1",
    "alpha_act r <- x : s=relu\nconv2d c <- r : out=4 kernel=5 pad=2\nborder_conv2d b <- r : out=4 kernel=5 pad=2 "
    "ring=1 "
    "reach=1\nadd y <- c b",
    "conv2d c <- x : out=5 kernel=3 pad=1\nmax_pool2d m <- c : kernel=3 stride=2 pad=1\navg_pool2d q <- c : kernel=3 "
    "stride=2 pad=1\nadd y <- m q",
};
// Networks in which 1x1 convolutions take over the work of the batch norms next to them, with and without activation
// and residual, and networks in which other readers prevent it.
constexpr const char* kFused[] = {
    "conv2d s <- x : out=16 kernel=3 pad=1\nbatch_norm sn <- s\nconv2d e <- sn : out=32\nbatch_norm en <- e\n"
    "alpha_act ea <- en : s=relu6 alpha=a\ndepthwise_conv2d d <- ea : kernel=3 pad=1\nbatch_norm dn <- d\n"
    "alpha_act da <- dn : s=relu6 alpha=b\nconv2d o <- da : out=16\nbatch_norm pn <- o\nadd r <- pn sn\n"
    "conv2d q <- r : out=32\nbatch_norm y <- q",
    "conv2d s <- x : out=16\nbatch_norm sn <- s\nalpha_act sa <- sn : s=relu alpha=a\nconv2d e <- sa : out=48\n"
    "batch_norm en <- e\nadd y <- en e",
};
constexpr const char* kHeads[] = {"global_avg_pool p <- y\nlinear l <- p : out=3",
                                  "flatten p <- y\nlinear l <- p : out=3"};

Graph graph_of(const std::string& body, const std::string& head) {
  return parse_graph("input x : channels=4 height=7 width=6\n" + body + "\n" + head + "\n");
}

Tensors random_tensors(const Graph& graph, uint64_t seed) {
  Tensors tensors = initial_tensors(graph, seed);
  uint64_t stream = 0;
  for (const Parameter& p : parameters(graph)) {
    Rng rng(seed, ++stream);
    for (float& v : tensors.at(p.name).values) {
      if (p.role == Role::alpha) v = 0.3f;
      if (p.role == Role::norm_weight || p.role == Role::running_var) v = static_cast<float>(0.5 + rng.uniform());
      if (p.role == Role::norm_bias || p.role == Role::running_mean || p.role == Role::bias)
        v = static_cast<float>(rng.uniform() - 0.5);
    }
  }
  return tensors;
}

void fill(std::span<float> x, uint64_t seed) {
  Rng rng(seed, 1000);
  for (float& v : x) v = static_cast<float>(rng.normal());
}

void backward(Exec& exec) {
  cross_entropy_backward<float>(exec.output_gradient(), exec.output(), kLabels, 3, 0.1);
  exec.backward();
}

double norm(const Tensors& gradients) {
  double sum = 0;
  for (const auto& [name, g] : gradients)
    for (float v : g.values) sum += double{v} * v;
  return std::sqrt(sum);
}

// The slope of the loss along the whole gradient, g/|g|, should be |g|; so should, for each parameter by itself, its
// own part's. Returns the greatest difference, over |g| of all. Central differences of the f32 forward pass: steps of
// 2.5e-4 are long enough that rounding makes less than 5e-4, short enough that hardly an activation changes its sign on
// the way (with 2e-3 that made 4e-3). A forgotten or doubled term is off by tenths.
double slope_error(const Graph& graph, Tensors tensors, Kernels kernels) {
  // Picture by picture: what a step writes for one piece must not disturb what another needs for the next.
  Exec exec(graph, tensors, {.batch = kBatch, .training = true, .kernels = kernels, .piece = 1});
  fill(exec.input(), 3);
  exec.forward();
  backward(exec);
  const Tensors gradients = exec.gradients(), start = tensors;
  const double total = norm(gradients);
  REQUIRE(total > 1e-3);
  const auto loss_at = [&](const Tensors& along, double step) {
    for (const auto& [name, g] : along)
      for (std::size_t i = 0; i < g.values.size(); ++i)
        tensors.at(name).values[i] = static_cast<float>(start.at(name).values[i] + step * g.values[i]);
    exec.forward();
    const double loss = cross_entropy_forward<float>(exec.output(), kLabels, 3, 0.1);
    for (const auto& [name, g] : along) tensors.at(name).values = start.at(name).values;
    return loss;
  };
  const auto error = [&](const Tensors& along) {
    const double length = norm(along), step = 2.5e-4 / length;
    if (length < 1e-3 * total) return 0.0;  // e.g. a bias that batch norm takes out again
    const double slope = (loss_at(along, step) - loss_at(along, -step)) / (2 * step * length);
    return std::abs(slope - length) / total;
  };
  double worst = error(gradients);
  for (const auto& [name, g] : gradients) worst = std::max(worst, error({{name, g}}));
  return worst;
}

double difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

template <class F>
void for_each_network(const F& f) {
  std::vector<const char*> bodies(std::begin(kBodies), std::end(kBodies));
  bodies.insert(bodies.end(), std::begin(kFused), std::end(kFused));
  for (const char* body : bodies)
    for (const char* head : kHeads) {
      const Graph graph = graph_of(body, head);
      CAPTURE(to_text(graph));
      f(graph);
    }
}

}  // namespace

TEST_CASE("exec: gradients are the derivatives of the loss, however values are shared and ops are fused") {
  for_each_network([](const Graph& graph) {
    for (const Kernels kernels : kBoth) {
      CAPTURE(kernels == Kernels::native);
      CHECK(slope_error(graph, random_tensors(graph, 1), kernels) < 1e-3);
    }
  });
}

TEST_CASE("exec: native and oneDNN kernels give the same logits and gradients") {
  for_each_network([](const Graph& graph) {
    Tensors a = random_tensors(graph, 2), b = a;
    Exec native(graph, a, {.batch = kBatch, .training = true, .kernels = Kernels::native});
    Exec onednn(graph, b, {.batch = kBatch, .training = true, .kernels = Kernels::onednn});
    for (Exec* exec : {&native, &onednn}) {
      fill(exec->input(), 4);
      exec->forward();
      backward(*exec);
    }
    CHECK(difference(native.output(), onednn.output()) < 1e-5);
    const double scale = norm(native.gradients());
    for (const auto& [name, g] : native.gradients()) {
      CAPTURE(name);
      CHECK(difference(g.values, onednn.gradients().at(name).values) < 1e-5 * scale);
    }
  });
}

TEST_CASE("exec: convolutions computed as products in any of their passes give the same gradients") {
  if (testing::lacks_tile_kernels<float>()) return;
  const testing::Threads restore;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    for (const char* body : kFused) {
      const Graph graph = graph_of(body, kHeads[0]);
      const std::vector<Nhwc> shapes = infer_shapes(graph);
      const ExecPlan plan = plan_exec(graph, shapes, {.batch = kBatch, .training = true, .piece = 1});
      const std::vector<TrainingConv> convs = training_convs(graph, shapes, plan, kBatch);
      const auto letters_of = [&](const std::string& pointwise) {
        std::string all;
        for (const TrainingConv& conv : convs) all += conv.op.kernel == 1 ? pointwise : "ddd";
        return all;
      };
      REQUIRE(std::ranges::any_of(convs, [](const TrainingConv& conv) { return conv.op.kernel == 1; }));
      Tensors a = random_tensors(graph, 2);
      Exec direct(graph, a, {.batch = kBatch, .training = true, .algorithms = letters_of("ddd"), .piece = 1});
      fill(direct.input(), 4);
      direct.forward();
      backward(direct);
      for (const char* letters : {"ppp", "pdd", "dpd", "ddp", "ppd", "dpp"}) {
        CAPTURE(std::string(letters));
        Tensors b = random_tensors(graph, 2);
        Exec mixed(graph, b, {.batch = kBatch, .training = true, .algorithms = letters_of(letters), .piece = 1});
        fill(mixed.input(), 4);
        mixed.forward();
        backward(mixed);
        CHECK(difference(direct.output(), mixed.output()) < 1e-5);
        const double scale = norm(direct.gradients());
        for (const auto& [name, g] : direct.gradients()) {
          CAPTURE(name);
          CHECK(difference(g.values, mixed.gradients().at(name).values) < 1e-5 * scale);
        }
      }
    }
  }
}

TEST_CASE("exec: a batch cut into pieces gives the same as the whole batch") {
  for_each_network([](const Graph& graph) {
    for (const Kernels kernels : kBoth) {
      Tensors a = random_tensors(graph, 2), b = a;
      Exec whole(graph, a, {.batch = kBatch, .training = true, .kernels = kernels, .piece = kBatch});
      Exec pieces(graph, b, {.batch = kBatch, .training = true, .kernels = kernels, .piece = 1});
      for (Exec* exec : {&whole, &pieces}) {
        fill(exec->input(), 4);
        exec->forward();
        backward(*exec);
      }
      CHECK(difference(whole.output(), pieces.output()) < 1e-5);
      const double scale = norm(whole.gradients());
      for (const auto& [name, g] : whole.gradients()) {
        CAPTURE(name);
        CHECK(difference(g.values, pieces.gradients().at(name).values) < 1e-5 * scale);
      }
    }
  });
}

// Rounding each value to 8 bits moves logits by some 2^-8 of their size, and gradients likewise; a wrong term by
// tenths.
TEST_CASE("exec: bf16 agrees with f32 within its precision") {
  if (!cpu_has_bf16()) {
    MESSAGE("skipped: this CPU has neither AVX512-BF16 nor AMX");
    return;
  }
  for_each_network([](const Graph& graph) {
    Tensors a = random_tensors(graph, 2), b = a;
    Exec f32(graph, a, {.batch = kBatch, .training = true});
    Exec bf16(graph, b, {.batch = kBatch, .training = true, .dtype = Dtype::bf16, .piece = 1});
    for (Exec* exec : {&f32, &bf16}) {
      fill(exec->input(), 4);
      exec->forward();
      backward(*exec);
    }
    CHECK(difference(f32.output(), bf16.output()) < 0.03);
    const double scale = norm(f32.gradients());
    for (const auto& [name, g] : f32.gradients()) {
      CAPTURE(name);
      CHECK(difference(g.values, bf16.gradients().at(name).values) < 0.03 * scale);
    }
  });
}

TEST_CASE("exec: evaluation agrees with the naive evaluator") {
  for_each_network([](const Graph& graph) {
    for (const Kernels kernels : kBoth) {
      Tensors tensors = random_tensors(graph, 3);
      Exec exec(graph, tensors, {.batch = kBatch, .kernels = kernels});
      fill(exec.input(), 5);
      const std::vector<double> x(exec.input().begin(), exec.input().end());
      exec.forward();
      const std::vector<double> expected = testing::reference_run(graph, tensors, x, kBatch).back();
      double worst = 0, scale = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        worst = std::max(worst, std::abs(exec.output()[i] - expected[i]));
        scale = std::max(scale, std::abs(expected[i]));
      }
      CHECK(worst < 3e-6 * scale);
    }
  });
}

TEST_CASE("exec: repeating a step gives the same bits") {
  for_each_network([](const Graph& graph) {
    for (const Kernels kernels : kBoth) {
      Tensors tensors[2], gradients[2];
      for (int run : {0, 1}) {
        tensors[run] = random_tensors(graph, 4);
        Exec exec(graph, tensors[run], {.batch = kBatch, .training = true, .kernels = kernels, .piece = 1});
        for (uint64_t step : {1, 2}) {
          fill(exec.input(), step);
          exec.forward();
          backward(exec);
        }
        gradients[run] = exec.gradients();
      }
      CHECK(tensors[0] == tensors[1]);  // running statistics
      CHECK(gradients[0] == gradients[1]);
    }
  });
}

TEST_CASE("exec: training and evaluation allocate nothing after the first call") {
  for_each_network([](const Graph& graph) {
    for (const Kernels kernels : kBoth) {
      Tensors tensors = random_tensors(graph, 5);
      Exec training(graph, tensors, {.batch = kBatch, .training = true, .kernels = kernels});
      Exec evaluation(graph, tensors, {.batch = kBatch, .kernels = kernels});
      fill(training.input(), 6);
      fill(evaluation.input(), 6);
      const auto step = [&] {
        training.forward();
        backward(training);
      };
      step();
      evaluation.forward();
      CHECK(testing::count_allocations(step).own == 0);
      CHECK(testing::count_allocations([&] { evaluation.forward(); }).own == 0);
    }
  });
}

TEST_CASE("exec: the first op whose result is NaN or infinite is named") {
  const Graph graph = parse_graph(
      "input x : channels=2 height=4 width=4\nconv2d c <- x : out=2 kernel=1\nalpha_act r <- c : s=relu\n"
      "conv2d d <- r : out=2 kernel=1\nglobal_avg_pool p <- d\nlinear l <- p : out=3\n");
  const auto culprit = [&](const char* name, float value, float gradient) {
    Tensors tensors = random_tensors(graph, 6);
    for (auto& [n, t] : tensors) std::fill(t.values.begin(), t.values.end(), n == name ? value : 1.0f);
    Exec exec(graph, tensors, {.batch = 1, .training = true, .kernels = Kernels::native});
    std::fill(exec.input().begin(), exec.input().end(), 1.0f);
    return exec.first_non_finite(
        [&] { std::fill(exec.output_gradient().begin(), exec.output_gradient().end(), gradient); });
  };
  CHECK(culprit("d.weight", std::numeric_limits<float>::quiet_NaN(), 1) == "parameter 'd.weight'");
  CHECK(culprit("d.weight", 3e38f, 1) == "conv2d 'd' (forward)");  // 2 * 2 * 3e38
  CHECK(culprit("l.weight", 3e38f, 1) == "linear 'l' (forward)");
  CHECK(culprit("none", 0, std::numeric_limits<float>::infinity()) == "the loss");
  CHECK(culprit("none", 0, 2e38f) == "linear 'l' (backward)");  // the sum over three classes
  // l hands on 3e38, p a sixteenth of it to each pixel; d sums twice that over the pixels.
  CHECK(culprit("l.weight", 1e20f, 1e18f) == "conv2d 'd' (backward)");
  CHECK(culprit("none", 0, 1) == "the optimiser's step");
}

TEST_CASE("exec: a network that it cannot run is refused with the reason") {
  const Graph graph = graph_of(kBodies[0], kHeads[0]);
  Tensors tensors = random_tensors(graph, 7);
  CHECK(error_of<std::invalid_argument>([&] { Exec(graph, tensors, {.batch = 0}); }).find("batch is 0") !=
        std::string::npos);
  Exec exec(graph, tensors, {});
  CHECK_THROWS_AS(exec.output_gradient(), std::invalid_argument);
  CHECK_THROWS_AS(exec.value(1), std::invalid_argument);
  tensors.erase("c.weight");
  CHECK(error_of<std::invalid_argument>([&] { Exec(graph, tensors, {}); }).find("c.weight") != std::string::npos);
}
