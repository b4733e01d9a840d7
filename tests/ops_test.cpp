// Every row of tests/op_cases, four ways.
//   reference  kernels in float and double, on one to three threads, against the naive evaluator in double
//   gradient   backward in double against central differences of forward, with a random cotangent
//   engine     oneDNN against the native kernels
//   bench      time; skipped unless asked for: --test-case="bench*" --no-skip
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/conv/conv2d.hpp"
#include "ops/conv/depthwise_conv2d.hpp"
#include "ops/spec.hpp"
#include "tests/compare.hpp"
#include "tests/op_cases.hpp"
#include "tests/reference.hpp"

namespace pleat::testing {
namespace {

using Values = std::vector<double>;

constexpr double kKinkMargin = 2e-3;    // Central differences move a value by far less.
constexpr double kGradientStart = 0.5;  // Parameter gradients are added to what is there.

// What an activation may be close to a kink of: nothing, its input, or a fused batch norm's value before it.
const AlphaAct* activation(const OpCase& c) {
  return c.act ? &*c.act : std::get_if<AlphaAct>(&c.op);
}

// The naive result, batch norm's statistics and tail included. `with_act` false stops before a fused activation.
Values expected_forward(const OpCase& c, const OpRun<double>& run, bool with_act = true) {
  const OpParams<double>& p = run.params;
  ReferenceParams params{p.weight, p.bias, p.running_mean, p.running_var, p.alpha};
  const Nhwc& shape = c.inputs[0];
  if (std::holds_alternative<BatchNorm>(c.op) && !c.evaluation) {
    params.running_mean.assign(shape.c, 0);
    params.running_var.assign(shape.c, 0);
    for (int64_t i = 0; i < shape.size(); ++i) params.running_mean[i % shape.c] += run.inputs[0][i] / shape.pixels();
    for (int64_t i = 0; i < shape.size(); ++i)
      params.running_var[i % shape.c] +=
          std::pow(run.inputs[0][i] - params.running_mean[i % shape.c], 2) / shape.pixels();
  }
  Values y = reference_forward(c.op, run.inputs, c.inputs, params);
  if (std::holds_alternative<Add>(c.op)) return y;
  if (c.inputs.size() == 2) y = reference_forward(Add{}, {y, run.inputs[1]}, c.inputs);
  if (c.act && with_act) y = reference_forward(*c.act, {y}, {shape}, params);
  return y;
}

// Where a nonlinearity has no derivative.
std::vector<double> kinks(Nonlinearity s) {
  switch (s) {
    case Nonlinearity::relu:
    case Nonlinearity::leaky_relu:
      return {0};
    case Nonlinearity::relu6:
      return {0, 6};
    case Nonlinearity::hard_swish:
      return {-3, 3};
    case Nonlinearity::silu:
    case Nonlinearity::sigmoid:
    case Nonlinearity::gelu:
      return {};
  }
  throw std::logic_error("tests/ops_test.cpp lacks a nonlinearity");
}

bool near_kink(const OpCase& c, const OpRun<double>& run) {
  const AlphaAct* act = activation(c);
  if (act == nullptr) return false;
  const Values x = c.act ? expected_forward(c, run, /*with_act=*/false) : run.inputs[0];
  const std::vector<double> all = kinks(act->s);
  return std::ranges::any_of(x, [&](double v) {
    return std::ranges::any_of(all, [&](double kink) { return std::abs(v - kink) < kKinkMargin; });
  });
}

// Random inputs, parameters and cotangent, all of them floats.
void draw(OpRun<double>& run, const OpCase& c, uint64_t seed) {
  Rng rng(seed);
  const auto fill = [&](Values& values, double scale) {
    for (double& v : values) v = static_cast<float>(scale * rng.normal());
  };
  const AlphaAct* act = activation(c);
  const double scale = act != nullptr ? 4 : 1;  // so that ReLU6 meets its 6
  for (Values& x : run.inputs) fill(x, scale);
  if (std::holds_alternative<MaxPool2d>(c.op)) {  // no two inputs close to each other
    Values& x = run.inputs[0];
    const std::vector<uint32_t> order = permutation(static_cast<uint32_t>(x.size()), rng);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(0.01 * order[i] - 1);
  }
  fill(run.params.weight, scale);
  fill(run.params.bias, 1);
  fill(run.params.running_mean, 1);
  for (double& v : run.params.running_var) v = static_cast<float>(0.5 + rng.uniform());
  run.params.alpha = act != nullptr && !act->alpha.empty() ? c.alpha : 0;
  fill(run.dy, 1);
}

// A draw with no activation near a kink.
OpRun<double> random_run(const OpCase& c) {
  OpRun<double> run(c);
  uint64_t seed = 0;
  do {
    REQUIRE_MESSAGE(seed < 1000, "no draw of a thousand stays away from the kinks");
    draw(run, c, ++seed);
  } while (near_kink(c, run));
  return run;
}

template <class To, class From>
void assign(std::vector<To>& to, const std::vector<From>& from) {
  REQUIRE(to.size() == from.size());
  std::transform(from.begin(), from.end(), to.begin(), [](From v) {
    if constexpr (std::is_same_v<To, Bf16>)
      return Bf16(static_cast<float>(v));
    else
      return static_cast<To>(v);
  });
}

// Forward and backward of `values` on any kernels.
template <class T>
OpRun<T> finished_run(const OpCase& c, const OpRun<double>& values, Kernels kernels = Kernels::native) {
  OpRun<T> run(c, kernels);
  for (std::size_t i = 0; i < run.inputs.size(); ++i) assign(run.inputs[i], values.inputs[i]);
  assign(run.params.weight, values.params.weight);
  assign(run.params.bias, values.params.bias);
  assign(run.params.running_mean, values.params.running_mean);
  assign(run.params.running_var, values.params.running_var);
  run.params.alpha = static_cast<compute_t<T>>(values.params.alpha);
  assign(run.dy, values.dy);
  using C = compute_t<T>;
  std::fill(run.dparams.weight.begin(), run.dparams.weight.end(), C(kGradientStart));
  std::fill(run.dparams.bias.begin(), run.dparams.bias.end(), C(kGradientStart));
  run.dparams.alpha = C(kGradientStart);
  run.forward();
  if (!c.evaluation) run.backward();
  return run;
}

template <class T, class U>
void check_backward(const OpCase& c, const OpRun<T>& got, const OpRun<U>& expected, double tolerance) {
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(got.dinputs[i], expected.dinputs[i]) <= tolerance);
  }
  CHECK(difference(got.dparams.weight, expected.dparams.weight) <= tolerance);
  CHECK(difference(got.dparams.bias, expected.dparams.bias) <= tolerance);
  if (const AlphaAct* act = activation(c); act != nullptr && !act->alpha.empty())
    CHECK(difference(std::vector{got.dparams.alpha}, std::vector{expected.dparams.alpha}) <= tolerance);
}

// d(sum of dy * y)/d(value) by the five-point rule, whose own error is far below the tolerance.
double numeric_derivative(OpRun<double>& run, double& value) {
  constexpr double kStep = 1e-4;
  const double start = value;
  const auto loss = [&](double moved) {
    value = moved;
    run.forward();
    return std::inner_product(run.y.begin(), run.y.end(), run.dy.begin(), 0.0);
  };
  const double slope =
      (8 * (loss(start + kStep) - loss(start - kStep)) - loss(start + 2 * kStep) + loss(start - 2 * kStep)) /
      (12 * kStep);
  value = start;
  return slope;
}

// Compares a gradient with numeric derivatives by `values`, of all elements or, if there are many, evenly chosen ones.
void check_gradient(const char* what, OpRun<double>& run, Values& values, const Values& gradient) {
  constexpr std::size_t kMost = 150;
  const std::size_t step = values.size() / kMost + 1;
  Values numeric, analytic;
  for (std::size_t i = 0; i < values.size(); i += step) {
    numeric.push_back(numeric_derivative(run, values[i]));
    analytic.push_back(gradient[i]);
  }
  CAPTURE(what);
  CHECK(difference(analytic, numeric) <= 1e-6);
}

Values minus_start(Values gradient) {
  for (double& v : gradient) v -= kGradientStart;
  return gradient;
}

}  // namespace

TEST_CASE("reference: kernels agree with the naive evaluator") {
  const Threads restore;
  for (const OpCase& c : small_cases()) {
    CAPTURE(describe(c));
    const OpRun<double> values = random_run(c);
    const Values expected = expected_forward(c, values);
    set_num_threads(1);
    const OpRun<double> serial = finished_run<double>(c, values);
    for (int threads = 1; threads <= 3; ++threads) {
      CAPTURE(threads);
      set_num_threads(threads);
      const OpRun<double> wide = finished_run<double>(c, values);
      CHECK(difference(wide.y, expected) <= 1e-13);
      const OpRun<float> narrow = finished_run<float>(c, values);
      CHECK(difference(narrow.y, expected) <= 2e-6);
      if (c.evaluation) continue;
      check_backward(c, wide, serial, 1e-12);
      check_backward(c, narrow, wide, 5e-6);
    }
  }
}

// Every product and sum is in float; what is stored is rounded to eight bits, by half a unit of the last of them. Some
// backward passes add to what they have stored, or read it.
TEST_CASE("bf16: kernels agree with the double ones on the same stored values") {
  constexpr double kStored = 1.0 / 256, kSummed = 2e-5;
  const Threads restore;
  set_num_threads(3);
  if (!cpu_has_bf16()) MESSAGE("skipped: dense convolutions, for this CPU multiplies no bf16");
  for (const OpCase& c : small_cases()) {
    const bool dense = std::holds_alternative<Conv2d>(c.op);
    if (std::holds_alternative<Linear>(c.op) || (dense && !cpu_has_bf16())) continue;  // linear layers stay in f32
    CAPTURE(describe(c));
    OpRun<double> values = random_run(c);
    const auto store = [](Values& all) {
      for (double& v : all) v = Bf16(static_cast<float>(v));
    };
    for (Values& x : values.inputs) store(x);
    store(values.dy);
    if (dense) store(values.params.weight);
    if (near_kink(c, values)) continue;  // a value moved to a kink: nothing to compare gradients with
    const OpRun<double> expected = finished_run<double>(c, values);
    const OpRun<Bf16> got = finished_run<Bf16>(c, values, dense ? Kernels::onednn : Kernels::native);
    CHECK(difference(got.y, expected.y) <= kStored);
    if (c.evaluation) continue;
    for (std::size_t i = 0; i < c.inputs.size(); ++i)
      CHECK(difference(got.dinputs[i], expected.dinputs[i]) <= 2 * kStored);
    CHECK(difference(got.dparams.weight, expected.dparams.weight) <= kSummed);
    CHECK(difference(got.dparams.bias, expected.dparams.bias) <= kSummed);
    if (const AlphaAct* act = activation(c); act != nullptr && !act->alpha.empty())
      CHECK(difference(std::vector{got.dparams.alpha}, std::vector{expected.dparams.alpha}) <= kSummed);
  }
}

TEST_CASE("reference: batch norm moves its running statistics") {
  const OpCase c{BatchNorm{1e-5, 0.25}, {{2, 3, 5, 7}}};
  const OpRun<double> values = random_run(c), run = finished_run<double>(c, values);
  const double n = 2 * 3 * 5;
  for (int64_t channel = 0; channel < 7; ++channel) {
    double mean = 0, squares = 0;
    for (std::size_t i = channel; i < values.inputs[0].size(); i += 7) mean += values.inputs[0][i] / n;
    for (std::size_t i = channel; i < values.inputs[0].size(); i += 7)
      squares += std::pow(values.inputs[0][i] - mean, 2);
    CHECK(run.params.running_mean[channel] ==
          doctest::Approx(0.75 * values.params.running_mean[channel] + 0.25 * mean));
    CHECK(run.params.running_var[channel] ==
          doctest::Approx(0.75 * values.params.running_var[channel] + 0.25 * squares / (n - 1)));
  }
}

TEST_CASE("gradient: backward is the derivative of forward") {
  const Threads restore;
  set_num_threads(1);
  for (const OpCase& c : small_cases()) {
    if (c.evaluation) continue;
    CAPTURE(describe(c));
    OpRun<double> run = finished_run<double>(c, random_run(c));
    for (std::size_t i = 0; i < run.inputs.size(); ++i) check_gradient("input", run, run.inputs[i], run.dinputs[i]);
    check_gradient("weight", run, run.params.weight, minus_start(run.dparams.weight));
    check_gradient("bias", run, run.params.bias, minus_start(run.dparams.bias));
    if (const AlphaAct* act = activation(c); act != nullptr && !act->alpha.empty()) {
      const double numeric = numeric_derivative(run, run.params.alpha);
      CHECK(difference(Values{run.dparams.alpha - kGradientStart}, Values{numeric}) <= 1e-6);
    }
  }
}

TEST_CASE("engine: oneDNN agrees with the native kernels") {
  for (const OpCase& c : small_cases()) {
    if (!is_convolution(c)) continue;
    CAPTURE(describe(c));
    const OpRun<double> values = random_run(c);
    const OpRun<float> native = finished_run<float>(c, values);
    const OpRun<float> onednn = finished_run<float>(c, values, Kernels::onednn);
    CHECK(difference(onednn.y, native.y) <= 2e-6);
    check_backward(c, onednn, native, 5e-6);
  }
}

TEST_CASE("same threads, same bits") {
  const Threads restore;
  set_num_threads(3);
  for (const OpCase& c : small_cases()) {
    CAPTURE(describe(c));
    const OpRun<double> values = random_run(c);
    for (const Kernels kernels : {Kernels::native, Kernels::onednn}) {
      if (kernels == Kernels::onednn && !is_convolution(c)) continue;
      const OpRun<float> a = finished_run<float>(c, values, kernels), b = finished_run<float>(c, values, kernels);
      CHECK(a.y == b.y);
      if (c.evaluation) continue;
      CHECK(a.dinputs == b.dinputs);
      CHECK(a.dparams.weight == b.dparams.weight);
      CHECK(a.dparams.bias == b.dparams.bias);
      CHECK(a.dparams.alpha == b.dparams.alpha);
    }
  }
}

TEST_CASE("convolutions refuse buffers of the wrong size") {
  const Nhwc shape{2, 5, 5, 4};
  const std::vector<float> x(shape.size()), weight(4 * 4 * 9), none;
  std::vector<float> y(shape.size()), dweight(weight.size()), workspace, no_bias;
  using In = std::span<const float>;
  const auto padding = Padding::uniform(1);
  const Conv2d op{4, 3, 1, padding, 1, false};
  workspace.resize(conv2d_workspace(shape, op));
  const auto forward = [&](In x_, In weight_, In bias, std::span<float> workspace_) {
    conv2d_forward<float>(y, x_, weight_, bias, shape, op, workspace_);
  };
  CHECK_NOTHROW(forward(x, weight, none, workspace));
  CHECK_THROWS_WITH_AS(forward(In(x).first(7), weight, none, workspace), "conv2d: x has 7 elements, expected 200",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(forward(x, In(weight).first(9), none, workspace), "conv2d: weight has 9 elements, expected 144",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(forward(x, weight, In(x).first(3), workspace), "conv2d: bias has 3 elements, expected 4",
                       std::invalid_argument);
  CHECK_THROWS_AS(forward(x, weight, none, std::span(workspace).first(1)), std::invalid_argument);

  const DepthwiseConv2d depthwise{3, 1, padding, false};
  CHECK_THROWS_WITH_AS(depthwise_conv2d_forward<float>(y, x, weight, none, shape, depthwise, workspace),
                       "depthwise_conv2d: weight has 144 elements, expected 36", std::invalid_argument);

  const BorderConv2d border{4, 3, 1, padding, 1, padding, padding};  // four edges of 3 taps, four corners of one
  CHECK_THROWS_WITH_AS(border_conv2d_forward<float>(y, x, weight, none, shape, border),
                       "border_conv2d: weight has 144 elements, expected 256", std::invalid_argument);
  CHECK_THROWS_WITH_AS(border_conv2d_forward<float>(y, x, std::vector<float>(256), none, shape, border),
                       "border_conv2d: bias has 0 elements, expected 36", std::invalid_argument);

  OnednnConv2d<float> onednn(shape, op, {.backward_weights = true});
  CHECK_THROWS_WITH_AS(onednn.begin_forward(In(weight).first(9)),
                       "conv2d (oneDNN): weight has 9 elements, expected 144", std::invalid_argument);
  onednn.begin_forward(weight);
  CHECK_THROWS_WITH_AS(onednn.forward(y, In(x).first(7), none, {}), "conv2d (oneDNN): x has 7 elements, expected 200",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(onednn.forward(y, x, In(x).first(4), {}), "conv2d (oneDNN): bias has 4 elements, expected 0",
                       std::invalid_argument);
  CHECK_THROWS_AS(onednn.backward_data(y, x, {}), std::invalid_argument);  // was not asked for
}

TEST_CASE("bench: forward and backward of real layers" * doctest::skip()) {
  // Best of a few, in seconds: on a shared machine the rest measures the neighbours.
  const auto best = [](const auto& work) {
    double seconds = 1e30;
    for (int i = 0; i < 7; ++i) {
      const auto start = Clock::now();
      work();
      if (i > 0) seconds = std::min(seconds, seconds_since(start));
    }
    return seconds;
  };
  std::printf(
      "%d threads; GFLOP/s where there are multiplications, else GB/s of inputs read and outputs written once\n",
      num_threads());
  std::printf("%9s %9s %9s %9s\n", "fwd ms", "rate", "bwd ms", "rate");
  for (const OpCase& c : bench_cases()) {
    OpRun<double> values(c);
    draw(values, c, 1);
    const Graph graph = graph_of(c);
    const int64_t flops = 2 * macs(graph) * c.inputs[0].n;
    for (const Kernels kernels : {Kernels::native, Kernels::onednn}) {
      if (kernels == Kernels::onednn && !is_convolution(c)) continue;
      OpRun<float> run = finished_run<float>(c, values, kernels);
      const auto values_moved = static_cast<double>(run.y.size() + c.inputs.size() * run.inputs[0].size());
      const double work = flops != 0 ? static_cast<double>(flops) : sizeof(float) * values_moved;
      const double forward = best([&] { run.forward(); }), backward = best([&] { run.backward(); });
      std::printf("%9.3f %9.1f %9.3f %9.1f  %-6s %s\n", forward * 1e3, work / forward * 1e-9, backward * 1e3,
                  (flops != 0 ? 2 : 1) * work / backward * 1e-9, kernels == Kernels::native ? "native" : "onednn",
                  describe(c).c_str());
    }
  }
}

}  // namespace pleat::testing
