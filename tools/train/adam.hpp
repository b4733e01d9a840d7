// Adam with decoupled weight decay (AdamW), as PyTorch defines it (torch.optim.AdamW, amsgrad off).
//   m = beta1 * m + (1 - beta1) * grad          v = beta2 * v + (1 - beta2) * grad^2
//   param -= lr * (weight_decay * param + m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps))
// in step t, counted from 1. The means m and v start at 0. The result does not depend on the number of threads.
// Sources: Kingma & Ba 2014, arXiv:1412.6980; Loshchilov & Hutter 2017, arXiv:1711.05101
#pragma once

#include <cstdint>
#include <span>

namespace pleat {

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

/// One step of one parameter. Throws std::invalid_argument if the four differ in size or `t` is below 1.
void adam_step(std::span<float> param, std::span<const float> grad, std::span<float> mean, std::span<float> square,
               int64_t t, double lr, double weight_decay, const AdamOptions& options = {});

}  // namespace pleat
