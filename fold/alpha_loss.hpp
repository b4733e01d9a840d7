// The loss that drives each alpha to 1, where its activation is the identity and can be dropped.
//   lambda * sum (1 - a^p)
// Source: Ben Dror et al. 2022, arXiv:2106.09309, section 3.
#pragma once

#include <span>

namespace pleat {

/// The loss; alphas >= 0 (the pre-fold step clips them).
double alpha_loss(std::span<const float> alphas, double lambda, double p);

/// Adds its gradient, -lambda * p * a^(p-1), to `dalphas` (of the same size). Where p < 1 the gradient at a = 0 is
/// infinite; std::invalid_argument unless p >= 1.
void alpha_loss_gradient(std::span<float> dalphas, std::span<const float> alphas, double lambda, double p);

}  // namespace pleat
