// Stochastic gradient descent with momentum, as PyTorch defines it (torch.optim.SGD, dampening 0).
//   d = grad + weight_decay * param
//   velocity = momentum * velocity + d
//   param -= lr * (nesterov ? d + momentum * velocity : velocity)
// Velocities start at 0. The result does not depend on the number of threads.
#pragma once

#include <span>

namespace pleat {

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
};

/// One step of one parameter. Throws std::invalid_argument if the three differ in size.
void sgd_step(std::span<float> param, std::span<const float> grad, std::span<float> velocity, double lr,
              double weight_decay, const SgdOptions& options);

}  // namespace pleat
