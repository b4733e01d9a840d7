// Compares losses with their textbook formulas and their gradients with finite differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/loss/distillation.hpp"

using namespace pleat;

namespace {

using Values = std::vector<double>;

Values random_values(std::size_t n, uint64_t stream, double scale = 2) {
  Rng rng(7, stream);
  Values values(n);
  for (double& value : values) value = scale * rng.normal();
  return values;
}

std::vector<int32_t> random_labels(std::size_t n, uint32_t classes) {
  Rng rng(7, 99);
  std::vector<int32_t> labels(n);
  for (int32_t& label : labels) label = static_cast<int32_t>(rng.below(classes));
  return labels;
}

// The softmax of logits / temperature by its definition, which works only for small logits.
Values naive_softmax(const Values& logits, std::size_t classes, double temperature = 1) {
  Values p(logits.size());
  for (std::size_t row = 0; row < logits.size(); row += classes) {
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(logits[row + c] / temperature);
    for (std::size_t c = 0; c < classes; ++c) p[row + c] = std::exp(logits[row + c] / temperature) / sum;
  }
  return p;
}

double naive_cross_entropy(const Values& logits, const std::vector<int32_t>& labels, std::size_t classes, double e) {
  const Values p = naive_softmax(logits, classes);
  double loss = 0;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    loss -= (1 - e) * std::log(p[n * classes + labels[n]]);
    for (std::size_t c = 0; c < classes; ++c) loss -= e / static_cast<double>(classes) * std::log(p[n * classes + c]);
  }
  return loss / static_cast<double>(labels.size());
}

double naive_distillation(const Values& logits, const Values& teacher, std::size_t classes, double t) {
  const Values p = naive_softmax(logits, classes, t), q = naive_softmax(teacher, classes, t);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += q[i] * std::log(q[i] / p[i]);
  return t * t * sum / static_cast<double>(logits.size() / classes);
}

// The greatest difference between `gradient` and central differences of `loss`, divided by the largest element of the
// gradient.
template <class Loss>
double gradient_error(const Values& gradient, Values point, const Loss& loss) {
  constexpr double kStep = 1e-4;  // truncation and rounding both stay near 1e-9
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < point.size(); i += point.size() / 50 + 1) {  // about fifty elements
    const double middle = point[i];
    point[i] = middle + kStep;
    const double above = loss(point);
    point[i] = middle - kStep;
    const double below = loss(point);
    point[i] = middle;
    worst = std::max(worst, std::abs((above - below) / (2 * kStep) - gradient[i]));
    largest = std::max(largest, std::abs(gradient[i]));
  }
  return worst / largest;
}

}  // namespace

TEST_CASE("cross entropy equals its formula, and its gradient the formula's derivative") {
  for (const std::size_t batch : {1u, 5u, 300u})
    for (const std::size_t classes : {2u, 10u})
      for (const double e : {0.0, 0.1}) {
        CAPTURE(batch);
        CAPTURE(classes);
        CAPTURE(e);
        const Values logits = random_values(batch * classes, 1);
        const auto labels = random_labels(batch, static_cast<uint32_t>(classes));
        const auto loss = [&](const Values& x) {
          return cross_entropy_forward<double>(x, labels, static_cast<int64_t>(classes), e);
        };
        const double expected = naive_cross_entropy(logits, labels, classes, e);
        CHECK(std::abs(loss(logits) - expected) < 1e-12 * expected);

        Values gradient(logits.size(), 123);  // overwritten, not accumulated
        cross_entropy_backward<double>(gradient, logits, labels, static_cast<int64_t>(classes), e);
        CHECK(gradient_error(gradient, logits, loss) < 1e-6);
      }
}

TEST_CASE("cross entropy has known values") {
  // With equal logits it is log(classes), whatever the smoothing.
  const std::vector<int32_t> label{2};
  CHECK(cross_entropy_forward<double>(Values{5, 5, 5, 5}, label, 4, 0.0) == doctest::Approx(std::log(4.0)));
  CHECK(cross_entropy_forward<double>(Values{5, 5, 5, 5}, label, 4, 0.3) == doctest::Approx(std::log(4.0)));
  // torch.nn.functional.cross_entropy(torch.tensor([[1., 2., 3.]]), torch.tensor([0]), label_smoothing=0.1):
  // log(e + e^2 + e^3) = 3.4076059644, minus 0.9 * 1 and minus 0.1 * 2.
  const std::vector<int32_t> first{0};
  CHECK(cross_entropy_forward<double>(Values{1, 2, 3}, first, 3, 0.1) == doctest::Approx(2.3076059644).epsilon(1e-10));
}

TEST_CASE("losses are right for logits whose exponentials overflow") {
  const std::vector<int32_t> labels{0, 1};
  const std::vector<float> logits{1e4f, -1e4f, 1e4f, -1e4f}, teacher{-1e4f, 1e4f, 1e4f, -1e4f};
  CHECK(cross_entropy_forward<float>(logits, labels, 2, 0.0) == doctest::Approx(1e4));  // (0 + 20000) / 2
  std::vector<float> gradient(4);
  cross_entropy_backward<float>(gradient, logits, labels, 2, 0.0);
  CHECK(gradient == std::vector<float>{0, 0, 0.5f, -0.5f});
  CHECK(distillation_forward<float>(logits, teacher, 2, 1.0) == doctest::Approx(1e4));
  distillation_backward<float>(gradient, logits, teacher, 2, 1.0);
  CHECK(gradient == std::vector<float>{0.5f, -0.5f, 0, 0});
}

TEST_CASE("distillation equals its formula, and its gradient the formula's derivative") {
  for (const std::size_t batch : {1u, 7u})
    for (const double t : {0.5, 1.0, 4.0}) {
      CAPTURE(batch);
      CAPTURE(t);
      constexpr std::size_t kClasses = 9;
      const Values logits = random_values(batch * kClasses, 2), teacher = random_values(batch * kClasses, 3);
      const auto loss = [&](const Values& x) { return distillation_forward<double>(x, teacher, kClasses, t); };
      const double expected = naive_distillation(logits, teacher, kClasses, t);
      CHECK(std::abs(loss(logits) - expected) < 1e-12 * expected);

      Values gradient(logits.size(), 123);
      distillation_backward<double>(gradient, logits, teacher, kClasses, t);
      CHECK(gradient_error(gradient, logits, loss) < 1e-6);
      CHECK(std::abs(distillation_forward<double>(teacher, teacher, kClasses, t)) < 1e-12);
    }
}

TEST_CASE("float losses agree with double ones, and have the same bits with any number of threads") {
  constexpr std::size_t kBatch = 1000, kClasses = 10;
  const Values logits = random_values(kBatch * kClasses, 4), teacher = random_values(kBatch * kClasses, 5);
  const std::vector<float> x(logits.begin(), logits.end()), y(teacher.begin(), teacher.end());
  const auto labels = random_labels(kBatch, kClasses);
  const int threads = num_threads();
  set_num_threads(1);
  const double task = cross_entropy_forward<float>(x, labels, kClasses, 0.1);
  const double soft = distillation_forward<float>(x, y, kClasses, 2.0);
  set_num_threads(3);
  CHECK(cross_entropy_forward<float>(x, labels, kClasses, 0.1) == task);
  CHECK(distillation_forward<float>(x, y, kClasses, 2.0) == soft);
  set_num_threads(threads);
  CHECK(task == doctest::Approx(cross_entropy_forward<double>(logits, labels, kClasses, 0.1)).epsilon(1e-6));
  CHECK(soft == doctest::Approx(distillation_forward<double>(logits, teacher, kClasses, 2.0)).epsilon(1e-6));
}

TEST_CASE("losses refuse sizes that do not match") {
  const Values logits(6);
  const std::vector<int32_t> labels(2);
  CHECK_THROWS_WITH_AS(cross_entropy_forward<double>(logits, labels, 4, 0.0),
                       "cross_entropy: 6 logits, expected 2 pictures x 4 classes", std::invalid_argument);
  CHECK_THROWS_AS(distillation_forward<double>(logits, Values(5), 3, 1.0), std::invalid_argument);
  CHECK_THROWS_AS(distillation_forward<double>(logits, logits, 3, 0.0), std::invalid_argument);
}
