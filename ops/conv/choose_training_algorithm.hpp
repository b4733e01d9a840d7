// Which algorithm (direct, Winograd or product) computes a convolution in training, pass by pass. All give the same up
// to rounding, so the choice decides the bits of a run and is part of its recipe, as a text: three letters (forward,
// backward to the input, backward to the weights) for each convolution that has a choice, in the graph's order. Here
// are the candidates and the choice by rule; ops/conv/tune_training.hpp chooses by timing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"
#include "ops/conv/algorithm.hpp"
#include "ops/exec/plan.hpp"

namespace pleat {

/// A convolution that has a choice, as training meets it: 3x3 or 1x1 with stride 1 and no groups.
struct TrainingConv {
  int node;
  Conv2d op;
  Nhwc x_shape;  ///< Of a piece of the batch.
  bool bf16, needs_dx;
  int64_t pieces;  ///< In a batch.
};

/// Those of the graph, in order. `shapes` for one picture, `plan` for training with `batch` pictures a step.
std::vector<TrainingConv> training_convs(const Graph& graph, const std::vector<Nhwc>& shapes, const ExecPlan& plan,
                                         int64_t batch);

/// What can compute a convolution of activations in bf16 or else f32: one algorithm if it has no choice.
std::vector<Algorithm> algorithms_for(const Nhwc& x_shape, const Conv2d& op, bool bf16);

/// What is fastest by a rule from measurements on several processors: Winograd where there are enough channels,
/// products for 1x1.
ConvAlgorithms usual_algorithms(const TrainingConv& conv);

/// Three letters.
std::string to_text(const ConvAlgorithms& algorithms);

/// One for each of `convs` from their letters; from an empty text the usual ones. Throws
/// std::invalid_argument for other letters or another number of them.
std::vector<ConvAlgorithms> parse_algorithms(std::string_view text, const std::vector<TrainingConv>& convs);

}  // namespace pleat
