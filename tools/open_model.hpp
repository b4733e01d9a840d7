// MODEL on the command line: a name of `pleat list`, or a model file.
#pragma once

#include <cstdint>
#include <string>

#include "core/model.hpp"
#include "data/dataset.hpp"

namespace pleat {

/// What the named network is usually trained on: ImageNet at 224x224 pixels (EfficientNet-lite1: 240x240), or CIFAR-10.
DatasetInfo usual_dataset(const std::string& name);

/// The named network for pictures like `data`'s (of its usual size where those have any), with start weights from
/// `seed`. Throws std::invalid_argument.
Model named_model(const std::string& name, const DatasetInfo& data, uint64_t seed);

/// The model in the file, or the named network for `dataset` (a name or a folder; empty: the usual one), with an output
/// for each line of the class list, if there is one. Throws std::invalid_argument for what is neither name nor file,
/// std::runtime_error for a bad file.
Model open_model(const std::string& name_or_file, uint64_t seed, const std::string& dataset = "",
                 const std::string& class_list = "");

}  // namespace pleat
