// VGG for small pictures: Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image
// recognition", arXiv:1409.1556, table 1, with batch norm added. Five stages of 3x3 convolutions with 64 to 512
// channels each end in 2x2 max pooling. Three linear layers follow, here with 512, 512 and `classes` outputs.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// Builds VGG16-BN (`layers` 16) or VGG19-BN (`layers` 19) in the form and with the parameter names of
/// chenyaofo/pytorch-cifar-models, where convolutions have biases although batch norms follow them. Every activation is
/// foldable, those of the classifier too. Dropout is left out. A picture of 32x32 pixels is one pixel after the last
/// stage. Throws std::invalid_argument for any other `layers`.
Graph vgg_bn(int layers, const Input& input, int classes);

}  // namespace pleat
