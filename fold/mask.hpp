// Masks say which activations to drop; this file makes masks and applies them.
//
// A foldable activation is a distinct alpha parameter together with all nodes that share it. A mask is a text with one
// character for each foldable activation, in network order: '#' keeps it, '.' drops it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"

namespace pleat {

/// The name of the node's alpha; empty if the node is not a foldable activation.
std::string alpha_of(const Node& node);

/// A foldable activation: the name and the value of its alpha.
struct Foldable {
  std::string alpha;
  double value = 0;
};

/// The foldable activations of the model, in network order.
std::vector<Foldable> foldable_activations(const Model& model);

/// The mask that drops every activation whose alpha is at least `threshold`.
std::string mask_from_threshold(const Model& model, double threshold);

/// Checks that `text` is a mask for the model and returns it. The paper's masks for ResNets have one more '#' in front,
/// for the activation of the stem, which is not foldable here; that form is accepted and returned without the '#'.
/// Throws std::invalid_argument for any other length and for other characters.
std::string mask_from_text(const Model& model, const std::string& text);

/// The mask that drops the largest alphas, and of equal ones the first in the network, until depth(graph) is `depth`.
/// Throws std::invalid_argument if the network is shallower than that or cannot become that shallow.
std::string mask_from_depth(const Model& model, int depth);

/// `dropped` is `original` without the activations that were dropped. Returns the node of `dropped` whose value took
/// the place of the value of node `i` of `original`.
int remaining_value(const Graph& original, int i, const Graph& dropped);

/// The model without the activations that `mask` drops. Throws std::invalid_argument for a mask of the wrong length.
Model drop_activations(const Model& model, const std::string& mask);

/// `folded`, which came from `original` by dropping activations and perhaps by moving padding, with those activations
/// back in their places and with their alphas' values: for letting them fade out in training instead of dropping them
/// at once. Where all their alphas are 1 it computes what `folded` does. Throws std::invalid_argument naming an
/// activation whose input is read by other nodes as well, since it could not tell its own readers from those.
Model restore_activations(const Model& folded, const Model& original);

}  // namespace pleat
