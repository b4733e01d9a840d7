#include "fold/alpha_loss.hpp"

#include <cmath>

#include "core/check.hpp"

namespace pleat {

double alpha_loss(std::span<const float> alphas, double lambda, double p) {
  double sum = 0;
  for (const float a : alphas) sum += 1 - std::pow(a, p);
  return lambda * sum;
}

void alpha_loss_gradient(std::span<float> dalphas, std::span<const float> alphas, double lambda, double p) {
  PLEAT_CHECK(p >= 1, "alpha loss: the exponent p is ", p, ", expected at least 1");
  PLEAT_CHECK(dalphas.size() == alphas.size(), "alpha loss: got ", dalphas.size(), " gradients for ", alphas.size(),
              " alphas, expected as many");
  for (std::size_t i = 0; i < alphas.size(); ++i)
    dalphas[i] -= static_cast<float>(lambda * p * std::pow(alphas[i], p - 1));
}

}  // namespace pleat
