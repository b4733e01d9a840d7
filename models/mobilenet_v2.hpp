// MobileNetV2: Sandler et al. 2018, arXiv:1801.04381, table 2.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// MobileNetV2 of the given width (channels are that many times the paper's, rounded to multiples of 8), with
/// torchvision's names. `small` is chenyaofo/pytorch-cifar-models' form for 32x32 pixels: the stem and the second stage
/// have stride 1. The activations of a block share one alpha; those of stem and head are not foldable. No dropout.
/// Throws std::invalid_argument unless width is above 0 and at most 8.
Graph mobilenet_v2(double width, bool small, const Input& input, int classes);

}  // namespace pleat
