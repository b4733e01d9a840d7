#include "tools/train/adam.hpp"

#include <cmath>

#include "core/check.hpp"
#include "core/elementwise.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

// What is the same for all elements in one step: step sizes with the corrections for the means' start at 0.
struct Factors {
  float beta1, beta2, mean, square, eps, decay;
};

PLEAT_INLINE inline void update(float* param, const float* grad, float* mean, float* square, int64_t n, Factors f) {
  for (int64_t i = 0; i < n; ++i) {
    mean[i] = f.beta1 * mean[i] + (1 - f.beta1) * grad[i];
    square[i] = f.beta2 * square[i] + (1 - f.beta2) * grad[i] * grad[i];
    param[i] -= f.decay * param[i] + f.mean * mean[i] / (std::sqrt(f.square * square[i]) + f.eps);
  }
}

}  // namespace

void adam_step(std::span<float> param, std::span<const float> grad, std::span<float> mean, std::span<float> square,
               int64_t t, double lr, double weight_decay, const AdamOptions& options) {
  PLEAT_CHECK(param.size() == grad.size() && param.size() == mean.size() && param.size() == square.size(),
              "adam: ", param.size(), " values, ", grad.size(), " gradients, ", mean.size(), " means and ",
              square.size(), " mean squares, expected as many of each");
  PLEAT_CHECK(t >= 1, "adam: step is ", t, ", expected at least 1");
  const auto step = static_cast<double>(t);
  const Factors factors{.beta1 = static_cast<float>(options.beta1),
                        .beta2 = static_cast<float>(options.beta2),
                        .mean = static_cast<float>(lr / (1 - std::pow(options.beta1, step))),
                        .square = static_cast<float>(1 / (1 - std::pow(options.beta2, step))),
                        .eps = static_cast<float>(options.eps),
                        .decay = static_cast<float>(lr * weight_decay)};
  for_elements(std::ssize(param), [&](int64_t begin, int64_t n) {
    dispatch([&](auto) PLEAT_INLINE {
      update(param.data() + begin, grad.data() + begin, mean.data() + begin, square.data() + begin, n, factors);
    });
  });
}

}  // namespace pleat
