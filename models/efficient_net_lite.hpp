// EfficientNet-lite: the EfficientNet of Tan & Le 2019 (arXiv:1905.11946) without squeeze-and-excite blocks, with ReLU6
// in place of swish, and with a stem and a head of fixed width. Source: tensorflow/tpu,
// models/official/efficientnet/lite.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// Builds EfficientNet-lite0 (`number` 0, designed for 224x224 pixels) or lite1 (`number` 1, 240x240). Parameters are
/// named as in the EfficientNet-PyTorch package, and convolutions are padded as TensorFlow pads them. The activations
/// of a block share one alpha; those of the stem and the head are not foldable. Dropout and stochastic depth are left
/// out. Throws std::invalid_argument for any other number.
Graph efficient_net_lite(int number, const Input& input, int classes);

}  // namespace pleat
