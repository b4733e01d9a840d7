// Residual networks for small pictures: He et al. 2015, "Deep residual learning for image recognition",
// arXiv:1512.03385, section 4.2: a 3x3 stem, three stages of n basic blocks with 16, 32 and 64 channels, global pooling
// and one linear layer; depth 6n + 2.
#pragma once

#include "core/graph.hpp"

namespace pleat {

/// ResNet-20/32/44/56/... with names as in akamaster/pytorch_resnet_cifar10. Both activations of every block are
/// foldable. Skips that change shape are option A (parameter-free) or, with `projection`, a 1x1 convolution and batch
/// norm (option B). Throws std::invalid_argument unless depth = 6n + 2 with n >= 1.
Graph resnet_cifar(int depth, const Input& input, int classes, bool projection);

}  // namespace pleat
