// MobileNetV2: Sandler et al. 2018, arXiv:1801.04381, table 2.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// Builds MobileNetV2 with torchvision's parameter names. `width` multiplies the paper's channel counts, which are then
/// rounded to multiples of 8. With `small` the network is the variant for 32x32 pixels of
/// chenyaofo/pytorch-cifar-models, whose stem and second stage have stride 1. The activations of a block share one
/// alpha; those of the stem and the head are not foldable. Dropout is left out.
/// Throws std::invalid_argument unless `width` is above 0 and at most 8.
Graph mobilenet_v2(double width, bool small, const Input& input, int classes);

}  // namespace pleat
