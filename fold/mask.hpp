// Choosing which activations to drop, and dropping them.
//
// A foldable activation is a distinct alpha parameter, in network order; nodes that share one are one. A mask has a
// character for each: '#' keeps, '.' drops.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"

namespace pleat {

/// The node's alpha; empty for anything but a foldable activation.
std::string alpha_of(const Node& node);

/// A foldable activation and its alpha's value.
struct Foldable {
  std::string alpha;
  double value = 0;
};
std::vector<Foldable> foldable_activations(const Model& model);

/// Drops alphas >= threshold.
std::string mask_from_threshold(const Model& model, double threshold);

/// Checks a mask against the model. The paper's ResNet masks have one '#' more in front, for the stem's activation,
/// which is not foldable: that form is accepted and returned without it. Throws std::invalid_argument for any other
/// length or character.
std::string mask_from_text(const Model& model, const std::string& text);

/// Drops the largest alphas, the earlier of equal ones first, until depth(graph) is `depth`. Throws
/// std::invalid_argument if the network is shallower already or cannot become that shallow.
std::string mask_from_depth(const Model& model, int depth);

/// The node of `dropped`, a network without some of the activations of `original`, whose value stands for that of node
/// `i` there.
int remaining_value(const Graph& original, int i, const Graph& dropped);

/// The model without the activations that `mask` (one character for each foldable activation) drops.
Model drop_activations(const Model& model, const std::string& mask);

}  // namespace pleat
