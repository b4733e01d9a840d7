#include "tools/train/sgd.hpp"

#include "core/check.hpp"
#include "core/elementwise.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

PLEAT_INLINE inline void update(float* param, const float* grad, float* velocity, int64_t n, float lr,
                                float weight_decay, float momentum, bool nesterov) {
  // Nesterov's step is d + momentum * velocity, the plain one velocity. Written with factors, the loop has no branch.
  const float gradient_factor = nesterov ? 1.0f : 0.0f, velocity_factor = nesterov ? momentum : 1.0f;
  for (int64_t i = 0; i < n; ++i) {
    const float d = grad[i] + weight_decay * param[i];
    velocity[i] = momentum * velocity[i] + d;
    param[i] -= lr * (gradient_factor * d + velocity_factor * velocity[i]);
  }
}

}  // namespace

void sgd_step(std::span<float> param, std::span<const float> grad, std::span<float> velocity, double lr,
              double weight_decay, const SgdOptions& options) {
  PLEAT_CHECK(param.size() == grad.size() && param.size() == velocity.size(), "sgd: ", param.size(), " values, ",
              grad.size(), " gradients and ", velocity.size(), " velocities, expected as many of each");
  for_elements(std::ssize(param), [&](int64_t begin, int64_t n) {
    dispatch([&](auto) PLEAT_INLINE {
      update(param.data() + begin, grad.data() + begin, velocity.data() + begin, n, static_cast<float>(lr),
             static_cast<float>(weight_decay), static_cast<float>(options.momentum), options.nesterov);
    });
  });
}

}  // namespace pleat
