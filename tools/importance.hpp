// Estimates what dropping activations loses, without labels and without training. `pleat plan` uses one of these
// measures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/tensor.hpp"
#include "fold/latency_plan.hpp"

namespace pleat {

/// The sum of 1 - alpha over the dropped activations, which says how far they are from the identity. Useful only if the
/// alphas were trained.
Losses alpha_losses(const Model& model);

/// The Kullback-Leibler divergence, in nats, of the class probabilities after dropping from those before, averaged over
/// pictures. It is the increase of the cross entropy if the probabilities before are taken as the truth. `pictures` are
/// normalised, [n, H, W, C]. The network is measured without merging, so its borders do not change.
Losses divergences(Model model, AlignedVector<float> pictures, bool quiet);

/// The Kullback-Leibler divergence sum_c p[c] log(p[c] / q[c]), where p and q are the softmax of two rows of logits.
double divergence(std::span<const float> p_logits, std::span<const float> q_logits);

}  // namespace pleat
