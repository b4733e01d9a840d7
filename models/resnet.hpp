// Residual networks for small pictures: He et al. 2015, "Deep residual learning for image recognition",
// arXiv:1512.03385, section 4.2. The network has a 3x3 stem, three stages of n basic blocks with 16, 32 and 64
// channels, global average pooling and one linear layer, so its depth is 6n + 2.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// Builds ResNet-20, 32, 44, 56 and so on with the parameter names of akamaster/pytorch_resnet_cifar10. Both
/// activations of every block are foldable. Skips that change the shape are the paper's option A (strided, padded with
/// zero channels, no parameters) or, with `projection`, its option B (a 1x1 convolution and a batch norm). Throws
/// std::invalid_argument unless depth = 6n + 2 with n >= 1.
Graph resnet_cifar(int depth, const Input& input, int classes, bool projection);

}  // namespace pleat
