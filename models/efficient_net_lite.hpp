// EfficientNet-lite: EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excite and with ReLU6, stem and
// head not scaled; tensorflow/tpu, models/official/efficientnet/lite.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// EfficientNet-lite0 (`number` 0, made for 224x224 pixels) or lite1 (240x240), with EfficientNet-PyTorch's names and
/// TensorFlow's padding. The activations of a block share one alpha; those of stem and head are not foldable. Neither
/// dropout nor stochastic depth. Throws std::invalid_argument for another number.
Graph efficient_net_lite(int number, const Input& input, int classes);

}  // namespace pleat
