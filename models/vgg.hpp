// VGG for small pictures: Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image
// recognition", arXiv:1409.1556, table 1, with batch norm: 3x3 convolutions in five stages of 64 to 512 channels, each
// ended by 2x2 max pooling, and three linear layers, here of 512, 512 and the classes.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// VGG16-BN or VGG19-BN (`layers` is 16 or 19) in the form and with the names of chenyaofo/pytorch-cifar-models: its
/// convolutions have biases besides their batch norms. Every activation is foldable, those of the classifier too; there
/// is no dropout. Pictures of 32x32 pixels leave the last stage as one. Throws std::invalid_argument for other
/// `layers`.
Graph vgg_bn(int layers, const Input& input, int classes);

}  // namespace pleat
