// The loss that drives each alpha towards 1, where its activation is the identity and can be dropped:
//   lambda * sum(1 - a^p)
// Source: Ben Dror et al. 2022, arXiv:2106.09309, section 3.
#pragma once

#include <span>

namespace pleat {

/// The loss. All alphas must be at least 0; pre-folding clips them after every training step.
double alpha_loss(std::span<const float> alphas, double lambda, double p);

/// Adds the gradient of the loss, -lambda * p * a^(p-1) for each alpha a, to `dalphas`. Throws std::invalid_argument
/// unless both spans have the same size and p >= 1, because with p < 1 the gradient is infinite at a = 0.
void alpha_loss_gradient(std::span<float> dalphas, std::span<const float> alphas, double lambda, double p);

}  // namespace pleat
