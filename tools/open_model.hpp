// MODEL on the command line: a name of `pleat list`, or a model file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/model.hpp"
#include "data/dataset.hpp"
#include "models/models.hpp"

namespace pleat {

/// What the named network is usually trained on: ImageNet at 224x224 pixels (EfficientNet-lite1: 240x240), or CIFAR-10.
DatasetInfo usual_dataset(const std::string& name);

/// How a network called by name is made; what is not given follows from its name and the data set. A model file has its
/// own.
struct NetworkOptions {
  std::optional<double> width = {};                  ///< ModelOptions::width.
  std::optional<int> classes = {}, input_size = {};  ///< Outputs; pixels of the pictures' side.
  bool any() const { return width || classes || input_size; }
};

/// `data` with its pictures and classes as `options` say.
DatasetInfo resized(DatasetInfo data, const NetworkOptions& options);

/// The named network for pictures like `data`'s (of its usual size where those have any), with start weights from
/// `seed`. Throws std::invalid_argument.
Model named_model(const std::string& name, const DatasetInfo& data, uint64_t seed, const ModelOptions& options = {});

/// The model in the file, or the named network for `dataset` (a name or a folder; empty: the usual one), with an output
/// for each line of the class list, if there is one, and otherwise as `options` say. Throws std::invalid_argument for
/// what is neither name nor file, UsageError for options to a file, std::runtime_error for a bad file.
Model open_model(const std::string& name_or_file, uint64_t seed, const std::string& dataset = "",
                 const std::string& class_list = "", const NetworkOptions& options = {});

}  // namespace pleat
