// Compares ten training steps of two small networks with PyTorch's results, which tests/golden/make_golden.py computed
// in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/safetensors.hpp"
#include "fold/alpha_loss.hpp"
#include "ops/exec/exec.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/spec.hpp"
#include "tools/train/sgd.hpp"

using namespace pleat;

namespace {

// All errors are the greatest difference divided by the greatest expected magnitude in the same tensor.
constexpr double kTolerance = 1e-4;

const SafetensorsFile& golden() {
  static const SafetensorsFile file = load_safetensors("tests/golden/golden.safetensors");
  return file;
}

double error(std::span<const float> actual, std::span<const float> expected) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    REQUIRE(std::isfinite(actual[i]));
    worst = std::max(worst, std::abs(double{actual[i]} - expected[i]));
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return worst / largest;
}

// Runs the ten steps of network `net` and compares each.
void check_training(const std::string& net, Kernels kernels) {
  CAPTURE(net);
  const auto setting = [&](const char* key) { return golden().metadata.at(net + "." + key); };
  const auto number = [&](const char* key) { return std::stod(setting(key)); };
  const auto expected = [&](const std::string& name) -> const Tensor& { return golden().tensors.at(net + "." + name); };
  const Graph graph = parse_graph(setting("graph"));
  const std::vector<Parameter> all = parameters(graph);
  Tensors tensors, velocities;
  for (const Parameter& p : all) tensors[p.name] = expected("initial." + p.name);
  const Tensor &images = expected("images"), &labels = expected("labels"), &losses = expected("losses");
  const int64_t batches = images.shape[0], batch = images.shape[1], classes = expected("logits").shape[1];
  const SgdOptions sgd{.momentum = number("momentum"), .nesterov = number("nesterov") != 0};
  const double lambda = number("alpha_lambda"), p = number("alpha_p"), smoothing = number("label_smoothing");

  Exec exec(graph, tensors, {.batch = batch, .training = true, .kernels = kernels});
  for (int step = 0; step < std::ssize(losses.values); ++step) {
    CAPTURE(step);
    const int64_t b = step % batches, pixels = std::ssize(images.values) / batches;
    const std::vector<int32_t> truth(labels.values.begin() + b * batch, labels.values.begin() + (b + 1) * batch);
    exec.run(std::span(images.values).subspan(b * pixels, pixels));
    double loss = cross_entropy_forward<float>(exec.output(), truth, classes, smoothing);
    cross_entropy_backward<float>(exec.output_gradient(), exec.output(), truth, classes, smoothing);
    if (step == 0) CHECK(error(exec.output(), expected("logits").values) < kTolerance);
    exec.backward();
    for (const Parameter& parameter : all) {
      if (!trainable(parameter.role)) continue;
      CAPTURE(parameter.name);
      AlignedVector<float>& value = tensors.at(parameter.name).values;
      AlignedVector<float> gradient = exec.gradients().at(parameter.name).values;
      const bool alpha = parameter.role == Role::alpha;
      if (alpha) {
        loss += alpha_loss(value, lambda, p);
        alpha_loss_gradient(gradient, value, lambda, p);
      }
      if (step == 0) CHECK(error(gradient, expected("gradient." + parameter.name).values) < kTolerance);
      Tensor& velocity = velocities.try_emplace(parameter.name, parameter.shape).first->second;
      sgd_step(value, gradient, velocity.values, number("lr"), alpha ? 0 : number("weight_decay"), sgd);
    }
    CHECK(std::abs(loss - losses.values[step]) / losses.values[step] < kTolerance);
  }
  for (const Parameter& parameter : all) {
    CAPTURE(parameter.name);
    CHECK(error(tensors.at(parameter.name).values, expected("final." + parameter.name).values) < kTolerance);
  }
}

}  // namespace

TEST_CASE("ten training steps equal PyTorch's: logits, gradients, losses, weights and running statistics") {
  for (const char* net : {"option_a", "projection"})
    for (const Kernels kernels : {Kernels::native, Kernels::onednn}) {
      CAPTURE(kernels == Kernels::native);
      check_training(net, kernels);
    }
}
