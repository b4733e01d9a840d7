// The CIFAR binary format. A file is a sequence of records. Each record has one label byte (CIFAR-10) or two
// (CIFAR-100: the coarse label, then the fine one) and 3072 pixel bytes: the red, the green and the blue plane of 32x32
// pixels, each row by row. Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace pleat {

/// Reads one split from a folder in the CIFAR-10 layout and converts the planes to NHWC. Throws std::runtime_error if a
/// file is missing or malformed.
Dataset read_cifar10(const std::string& dir, Split split);

/// The same for a folder in the CIFAR-100 layout. The labels are the fine ones.
Dataset read_cifar100(const std::string& dir, Split split);

}  // namespace pleat
