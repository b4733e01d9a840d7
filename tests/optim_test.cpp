// The optimisers compared with PyTorch's formulas and with theory, the end points of the schedules, and the log of a
// run that is resumed.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "core/tensor.hpp"
#include "ops/spec.hpp"
#include "tests/temp_dir.hpp"
#include "tools/train/average.hpp"
#include "tools/train/muon.hpp"
#include "tools/train/optimiser.hpp"
#include "tools/train/run_log.hpp"
#include "tools/train/schedule.hpp"
#include "tools/train/sgd.hpp"

using namespace pleat;
using doctest::Approx;

TEST_CASE("two steps of SGD equal those computed by hand") {
  // lr 0.1, weight decay 0.5, momentum 0.9, parameter 1, gradients 2 and -1.
  //   d1 = 2 + 0.5*1 = 2.5        v1 = 2.5                          plain p1 = 1 - 0.25 = 0.75
  //   d2 = -1 + 0.5*0.75 = -0.625 v2 = 2.25 - 0.625 = 1.625         plain p2 = 0.75 - 0.1625 = 0.5875
  std::vector<float> param{1}, velocity{0};
  const std::vector<float> first{2}, second{-1};
  sgd_step(param, first, velocity, 0.1, 0.5, {});
  CHECK(param[0] == Approx(0.75));
  sgd_step(param, second, velocity, 0.1, 0.5, {});
  CHECK(velocity[0] == Approx(1.625));
  CHECK(param[0] == Approx(0.5875));

  // Nesterov steps by d + 0.9*v:
  //   d1 + 0.9*v1 = 4.75          p1 = 0.525
  //   d2 = -1 + 0.2625 = -0.7375  v2 = 2.25 - 0.7375 = 1.5125       d2 + 0.9*v2 = 0.62375    p2 = 0.462625
  param = {1}, velocity = {0};
  const SgdOptions nesterov{.momentum = 0.9, .nesterov = true};
  sgd_step(param, first, velocity, 0.1, 0.5, nesterov);
  CHECK(param[0] == Approx(0.525));
  sgd_step(param, second, velocity, 0.1, 0.5, nesterov);
  CHECK(velocity[0] == Approx(1.5125));
  CHECK(param[0] == Approx(0.462625));

  // Without momentum the velocity is the gradient itself.
  param = {1}, velocity = {5};
  sgd_step(param, first, velocity, 0.1, 0, {.momentum = 0, .nesterov = false});
  CHECK(param[0] == Approx(0.8));
  CHECK(velocity[0] == Approx(2));
}

TEST_CASE("Muon: an orthogonal matrix of any shape is only scaled, by the polynomial") {
  for (const auto& [rows, columns] : {std::pair{3, 8}, {8, 3}, {4, 4}}) {
    CAPTURE(rows);
    const int side = std::min(rows, columns);
    std::vector<float> x(rows * columns, 0), scratch(orthogonalise_scratch(rows, columns));
    for (int i = 0; i < side; ++i) x[i * columns + (i + 1) % side] = i % 2 == 1 ? -5.0f : 5.0f;
    double s = 1 / std::sqrt(static_cast<double>(side));
    for (int i = 0; i < 5; ++i) s = 3.4445 * s - 4.775 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
    const std::vector<float> before = x;
    orthogonalise(x, rows, scratch);
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Approx(before[i] / 5 * s).epsilon(1e-5));
  }
}

TEST_CASE("Muon: all singular values of a random matrix come near 1") {
  for (const auto& [rows, columns] : {std::pair{16, 144}, {64, 32}}) {
    CAPTURE(rows);
    Rng rng(5);
    std::vector<float> x(rows * columns), scratch(orthogonalise_scratch(rows, columns));
    for (float& v : x) v = static_cast<float>(rng.normal());
    orthogonalise(x, rows, scratch);
    // With singular values within 0.6 and 1.3 the eigenvalues of x x^T are within 0.36 and 1.69, hence its diagonal;
    // and off it nothing is larger than half the difference.
    const int side = std::min(rows, columns), other = std::max(rows, columns);
    const auto element = [&](int i, int k) { return double{rows < columns ? x[i * columns + k] : x[k * columns + i]}; };
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j) {
        double dot = 0;
        for (int k = 0; k < other; ++k) dot += element(i, k) * element(j, k);
        CHECK(std::abs(dot - (i == j ? 1.025 : 0)) < 0.665);
      }
  }
}

TEST_CASE("Muon: a step is momentum, orthogonal factor and decay, with the same bits for any number of threads") {
  const int threads = num_threads();
  std::vector<AlignedVector<float>> results;
  for (const int count : {1, 2, 3}) {
    set_num_threads(count);
    Rng rng(7);
    Tensor param({6, 2, 3, 3}), grad({6, 2, 3, 3}), velocity({6, 2, 3, 3}), other({2, 5}), none({2, 5}), zero({2, 5});
    for (Tensor* t : {&param, &grad, &velocity, &other})
      for (float& v : t->values) v = static_cast<float>(rng.normal());
    std::vector<float> d(param.values.size()), scratch(orthogonalise_scratch(6, 18));
    for (std::size_t i = 0; i < d.size(); ++i)
      d[i] = grad.values[i] + 0.9f * (0.9f * velocity.values[i] + grad.values[i]);
    orthogonalise(d, 6, scratch);
    const Tensor before = param, other_before = other;
    Muon muon({{&param, &grad, &velocity}, {&other, &none, &zero}});
    muon.step(0.1, 0.25, {.momentum = 0.9, .nesterov = true});
    for (std::size_t i = 0; i < d.size(); ++i)
      CHECK(param.values[i] == Approx(0.75 * before.values[i] - 0.1 * d[i]).epsilon(1e-5));
    for (std::size_t i = 0; i < other.values.size(); ++i)  // no gradient: decay alone
      CHECK(other.values[i] == Approx(0.75 * other_before.values[i]));
    results.push_back(param.values);
  }
  set_num_threads(threads);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
  Tensor weight({4, 4}), short_one({4, 3}), flat({16});
  CHECK_THROWS_AS(Muon({{&weight, &short_one, &weight}}), std::invalid_argument);
  CHECK_THROWS_AS(Muon({{&flat, &flat, &flat}}), std::invalid_argument);
}

TEST_CASE("SGD treats every element alike, with the same bits for any number of threads") {
  const int threads = num_threads();
  for (const std::size_t size : {1u, 17u, 4097u, 20011u})
    for (const bool nesterov : {false, true}) {
      CAPTURE(size);
      Rng rng(3);
      std::vector<float> param(size), grad(size), velocity(size);
      std::vector<double> expected(size);
      for (std::size_t i = 0; i < size; ++i) {
        param[i] = static_cast<float>(rng.normal());
        grad[i] = static_cast<float>(rng.normal());
        velocity[i] = static_cast<float>(rng.normal());
        const double d = grad[i] + 5e-4 * param[i], v = 0.9 * velocity[i] + d;
        expected[i] = param[i] - 0.1 * (nesterov ? d + 0.9 * v : v);
      }
      std::vector<float> other_param = param, other_velocity = velocity;
      set_num_threads(1);
      sgd_step(param, grad, velocity, 0.1, 5e-4, {0.9, nesterov});
      set_num_threads(3);
      sgd_step(other_param, grad, other_velocity, 0.1, 5e-4, {0.9, nesterov});
      set_num_threads(threads);
      CHECK(param == other_param);
      CHECK(velocity == other_velocity);
      double worst = 0;
      for (std::size_t i = 0; i < size; ++i) worst = std::max(worst, std::abs(param[i] - expected[i]));
      CHECK(worst < 1e-6);
    }
  std::vector<float> two(2), three(3);
  CHECK_THROWS_AS(sgd_step(two, three, two, 0.1, 0, {}), std::invalid_argument);
}

TEST_CASE("the running average of the weights is its formula; alphas are copied") {
  Graph graph;
  const int x = graph.add("input", Input{1, 2, 2}, {});
  graph.add("act", AlphaAct{.s = Nonlinearity::relu, .alpha = "a"},
            {graph.add("bn", BatchNorm{},
                       {graph.add("conv", Conv2d{.out = 70, .kernel = 9, .pad = Padding::uniform(4)}, {x})})});
  Model model{.graph = graph, .tensors = initial_tensors(graph, 1), .mean = {}, .std = {}, .classes = {}, .notes = {}};
  Average average(model, 0.3);
  std::map<std::string, double> expected;
  for (const auto& [name, tensor] : model.tensors) expected[name] = tensor.values.back();
  for (int step = 0; step < 6; ++step) {
    for (auto& [name, tensor] : model.tensors)
      for (float& value : tensor.values) value = 0.5f * static_cast<float>(step) + value / 2;
    average.update(step);
    const double d = std::min(0.3, (1.0 + step) / (10.0 + step));  // 0.1, 0.18, 0.25, 0.3, ...
    for (auto& [name, value] : expected) value = d * value + (1 - d) * model.tensors.at(name).values.back();
  }
  expected["a"] = model.tensors.at("a").values[0];
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(average.tensors().at(name).values.back() == Approx(value).epsilon(1e-5));
  }
}

TEST_CASE("biases and batch norms learn at a rate of their own, and decay as before") {
  Graph graph;
  const int x = graph.add("input", Input{1, 1, 1}, {});
  graph.add("linear", Linear{.out = 1},
            {graph.add("bn", BatchNorm{}, {graph.add("conv", Conv2d{.out = 1, .bias = true}, {x})})});
  const auto moved = [&](double factor, float gradient, double decay) {
    Model model{
        .graph = graph, .tensors = initial_tensors(graph, 1), .mean = {}, .std = {}, .classes = {}, .notes = {}};
    for (auto& [name, tensor] : model.tensors) tensor.values[0] = 2;
    Tensors gradients = model.tensors;
    for (auto& [name, tensor] : gradients) tensor.values[0] = gradient;
    Recipe recipe = usual_recipe("train");
    recipe.weight_decay = decay;
    recipe.bias_norm_lr = factor;
    Optimiser optimiser(model, gradients, recipe);
    optimiser.step(0.1, 0);
    std::map<std::string, double> steps;
    for (const auto& [name, tensor] : model.tensors) steps[name] = 2 - tensor.values[0];
    return steps;
  };
  const auto by_gradient = moved(8, 1, 0), by_decay = moved(8, 0, 0.5);
  for (const char* name : {"conv.weight", "linear.weight"}) CHECK(by_gradient.at(name) == Approx(0.1));
  for (const char* name : {"conv.bias", "linear.bias", "bn.weight", "bn.bias"})
    CHECK(by_gradient.at(name) == Approx(0.8));
  CHECK(by_gradient.at("bn.running_mean") == 0);
  for (const char* name : {"conv.weight", "linear.weight", "conv.bias", "linear.bias", "bn.weight", "bn.bias"})
    CHECK(by_decay.at(name) == Approx(0.1 * 0.5 * 2));
}

TEST_CASE("lambda grows after an epoch in which no alpha arrived, and an arrived alpha stays") {
  Graph graph;
  int x = graph.add("input", Input{1, 1, 1}, {});
  for (const char* name : {"a", "b"})
    x = graph.add(name, AlphaAct{.s = Nonlinearity::relu, .alpha = std::string(name) + ".alpha"}, {x});
  Model model{.graph = graph, .tensors = initial_tensors(graph, 1), .mean = {}, .std = {}, .classes = {}, .notes = {}};
  Tensors gradients = model.tensors;
  Recipe recipe = usual_recipe("prefold");
  recipe.lambda = 0.5;
  recipe.lambda_growth = 2;
  Optimiser optimiser(model, gradients, recipe);
  CHECK(optimiser.lambda() == 0.5);
  CHECK(optimiser.adapt_lambda(0) == 0);
  CHECK(optimiser.lambda() == 1);
  model.tensors.at("a.alpha").values[0] = 1;
  CHECK(optimiser.adapt_lambda(0) == 1);
  CHECK(optimiser.lambda() == 1);
  CHECK(optimiser.adapt_lambda(1) == 1);
  CHECK(optimiser.lambda() == 2);
  // The gradient of lambda * (1 - b^2) at b = 0.25 is -lambda * 0.5, times the rate: what b moves by.
  gradients.at("a.alpha").values[0] = 5;
  gradients.at("b.alpha").values[0] = 0;
  model.tensors.at("b.alpha").values[0] = 0.25f;
  optimiser.step(0.1, 0);
  CHECK(model.tensors.at("b.alpha").values[0] == Approx(0.25 + 0.1 * 2 * 0.5));
  CHECK(model.tensors.at("a.alpha").values[0] == 1);
}

TEST_CASE("the cosine schedule falls from lr to 0") {
  const Schedule s{.kind = Schedule::Kind::cosine, .lr = 0.4, .total_steps = 100};
  CHECK(lr_at(s, 0) == Approx(0.4));
  CHECK(lr_at(s, 25) == Approx(0.4 * (1 + std::sqrt(0.5)) / 2));
  CHECK(lr_at(s, 50) == Approx(0.2));
  CHECK(lr_at(s, 99) == Approx(0.4 * 0.00024671981713420017));  // (1 + cos(0.99 pi)) / 2
  CHECK(std::abs(lr_at(s, 100)) < 1e-15);
  CHECK(std::abs(lr_at(s, 150)) < 1e-15);
}

TEST_CASE("linear falls evenly from lr to 0, REX slowly at first") {
  Schedule s{.kind = Schedule::Kind::linear, .lr = 0.4, .total_steps = 110, .warmup_steps = 10};
  CHECK(lr_at(s, 9) == Approx(0.4));
  CHECK(lr_at(s, 10) == Approx(0.4));
  CHECK(lr_at(s, 35) == Approx(0.3));
  CHECK(lr_at(s, 109) == Approx(0.004));
  CHECK(lr_at(s, 110) == 0);
  s.kind = Schedule::Kind::rex;  // lr * (1 - t) / (1 - t / 2)
  CHECK(lr_at(s, 9) == Approx(0.4));
  CHECK(lr_at(s, 10) == Approx(0.4));
  CHECK(lr_at(s, 60) == Approx(0.4 * 0.5 / 0.75));
  CHECK(lr_at(s, 109) == Approx(0.4 * 0.01 / 0.505));
  CHECK(lr_at(s, 200) == 0);
}

TEST_CASE("warm-up rises linearly, then the schedule starts") {
  Schedule s{.kind = Schedule::Kind::cosine, .lr = 1, .total_steps = 20, .warmup_steps = 10};
  CHECK(lr_at(s, 0) == Approx(0.1));
  CHECK(lr_at(s, 4) == Approx(0.5));
  CHECK(lr_at(s, 9) == Approx(1));
  CHECK(lr_at(s, 10) == Approx(1));
  CHECK(lr_at(s, 15) == Approx(0.5));
  s.kind = Schedule::Kind::constant;
  CHECK(lr_at(s, 4) == Approx(0.5));
  CHECK(lr_at(s, 19) == Approx(1));
  s.warmup_steps = 20;  // never gets past it
  CHECK(lr_at(s, 19) == Approx(1));
}

TEST_CASE("the step schedule drops by gamma at each milestone") {
  const Schedule s{.kind = Schedule::Kind::step, .lr = 1, .total_steps = 100, .milestones = {0.55, 0.7}, .gamma = 0.1};
  CHECK(lr_at(s, 54) == Approx(1));
  CHECK(lr_at(s, 55) == Approx(0.1));  // 0.55 * 100 is a little more than 55 in floating point
  CHECK(lr_at(s, 69) == Approx(0.1));
  CHECK(lr_at(s, 70) == Approx(0.01));
  CHECK(lr_at(s, 99) == Approx(0.01));
}

TEST_CASE("the one-cycle schedule rises from lr/25 and falls to lr/250000") {
  // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10, pct_start=0.3, anneal_strategy='linear')
  Schedule s{.kind = Schedule::Kind::onecycle, .lr = 1, .total_steps = 10, .warmup_steps = 3};
  CHECK(lr_at(s, 0) == Approx(0.04));
  CHECK(lr_at(s, 1) == Approx(0.52));
  CHECK(lr_at(s, 2) == Approx(1));
  CHECK(lr_at(s, 3) == Approx(1 + (4e-6 - 1) / 7));
  CHECK(lr_at(s, 9) == Approx(4e-6));
  CHECK(lr_at(s, 10) == Approx(4e-6));
  for (int64_t warmup : {0, 1, 10})  // no division by zero at either end
    for (int64_t step = 0; step < 10; ++step) {
      s.warmup_steps = warmup;
      CHECK(lr_at(s, step) > 0);
      CHECK(lr_at(s, step) <= 1);
    }
  const Schedule single{.kind = Schedule::Kind::onecycle, .lr = 1, .total_steps = 1};
  CHECK(lr_at(single, 0) == Approx(1));
}

TEST_CASE("schedules have names, and wrong settings are refused") {
  CHECK(parse_schedule_kind("constant") == Schedule::Kind::constant);
  CHECK(parse_schedule_kind("step") == Schedule::Kind::step);
  CHECK(parse_schedule_kind("cosine") == Schedule::Kind::cosine);
  CHECK(parse_schedule_kind("onecycle") == Schedule::Kind::onecycle);
  for (const char* name : {"constant", "step", "cosine", "onecycle", "linear", "rex"})
    CHECK(std::string(to_string(parse_schedule_kind(name))) == name);
  CHECK_THROWS_WITH_AS(parse_schedule_kind("cos"),
                       "schedule: got 'cos', expected one of constant, step, cosine, onecycle, linear, rex",
                       std::invalid_argument);
  CHECK_THROWS_AS(lr_at({.total_steps = 0}, 0), std::invalid_argument);
  CHECK_THROWS_AS(lr_at({.total_steps = 5, .warmup_steps = 6}, 0), std::invalid_argument);
  CHECK_THROWS_AS(lr_at({.total_steps = 5}, -1), std::invalid_argument);
}

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

nlohmann::ordered_json epoch(int number) {
  return {{"epoch", number}, {"loss", 0.5}};
}

}  // namespace

TEST_CASE("the log of a resumed run has each epoch once, in order") {
  const TempDir dir;
  const std::string path = dir.path("log.jsonl");
  {
    RunLog log(path);
    for (int number = 1; number <= 3; ++number) log.append(epoch(number));
  }
  CHECK(text_of(path) == "{\"epoch\":1,\"loss\":0.5}\n{\"epoch\":2,\"loss\":0.5}\n{\"epoch\":3,\"loss\":0.5}\n");

  std::ofstream(path, std::ios::app) << "{\"epoch\":4,\"lo";  // cut short
  RunLog resumed(path, 2);
  CHECK(text_of(path) == "{\"epoch\":1,\"loss\":0.5}\n{\"epoch\":2,\"loss\":0.5}\n");
  resumed.append(epoch(3));
  CHECK(text_of(path) == "{\"epoch\":1,\"loss\":0.5}\n{\"epoch\":2,\"loss\":0.5}\n{\"epoch\":3,\"loss\":0.5}\n");

  RunLog again(path);
  CHECK(text_of(path).empty());
}

TEST_CASE("a file that is not a log is refused and not changed") {
  const TempDir dir;
  const std::string path = dir.path("log.jsonl");
  for (const std::string text :
       {"{\"epoch\":1}\nnot json\n", "{\"epoch\":1}\n{\"loss\":1}\n", "{\"epoch\":1}\n[1]\n"}) {
    std::ofstream(path, std::ios::trunc) << text;
    CHECK_THROWS_WITH_AS(RunLog(path, 5), (path + ": line 2 is not the record of an epoch").c_str(),
                         std::runtime_error);
    CHECK(text_of(path) == text);
  }
  CHECK_THROWS_AS(RunLog(dir.path("absent/log.jsonl")), std::runtime_error);

  RunLog log(dir.path("new.jsonl"), 3);  // resumed where there is none: starts empty
  CHECK_THROWS_AS(log.append({{"loss", 1}}), std::invalid_argument);
  CHECK(text_of(dir.path("new.jsonl")).empty());
}
