// What dropping activations loses, without labels and without training: the measures that `pleat plan` goes by.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/tensor.hpp"
#include "fold/latency_plan.hpp"

namespace pleat {

/// Sum over the dropped activations of 1 - alpha: how far they are from the identity. For trained alphas.
Losses alpha_losses(const Model& model);

/// Mean over pictures of the Kullback-Leibler divergence, in nats, of the class probabilities after dropping from those
/// before: what the cross entropy grows by where the network was right to be as sure as it was. The pictures are
/// [n, H, W, C], as the network takes them. Unmerged and with the borders that the network has.
Losses divergences(Model model, AlignedVector<float> pictures, bool quiet);

/// sum_c p[c] log(p[c] / q[c]) of the softmax of two rows of logits.
double divergence(std::span<const float> p_logits, std::span<const float> q_logits);

}  // namespace pleat
