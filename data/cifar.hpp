// The CIFAR binary format: records of one label byte (CIFAR-10) or two (CIFAR-100: coarse, fine), then 3072 bytes: the
// red, green and blue 32x32 planes, row by row. Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace pleat {

/// Reads a split from a folder in the CIFAR-10 layout; planes become NHWC. Throws std::runtime_error for bad files.
Dataset read_cifar10(const std::string& dir, Split split);

/// The same for the CIFAR-100 layout, with the fine labels.
Dataset read_cifar100(const std::string& dir, Split split);

}  // namespace pleat
