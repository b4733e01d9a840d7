// The part of a network that learns features from a teacher, and what goes with its training.
#pragma once

#include "core/model.hpp"

namespace pleat {

/// Everything before the network's first global pooling or flattening, followed by a flattening: its outputs are the
/// features that the classifier reads, pixel by pixel. Throws std::invalid_argument if the network has neither.
Model feature_part(const Model& model);

/// `model` with its batch norms merged into the convolutions before them, and with that what is linear and gets cheaper
/// by it. It computes the same as `model` does in evaluation. Training then leaves the norms' statistics alone, since
/// there are none: with few pictures, or in a network whose norms were merged before, batch statistics do harm. Throws
/// std::invalid_argument naming a batch norm that no convolution stands before.
Model with_frozen_norms(const Model& model);

}  // namespace pleat
