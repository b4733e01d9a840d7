// Models before their first training step: a graph, or a network called by name, with start weights and the
// normalisation of the data set it is made for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/model.hpp"
#include "data/dataset.hpp"
#include "models/models.hpp"

namespace pleat {

/// The data that the network called `name` is usually trained on: ImageNet with pictures of 224x224 pixels (240x240
/// for EfficientNet-lite1), or CIFAR-10.
DatasetInfo usual_dataset(const std::string& name);

/// What the caller wants otherwise than the network's name and the data set say.
struct NetworkOptions {
  std::optional<double> width = {};                  ///< ModelOptions::width.
  std::optional<int> classes = {}, input_size = {};  ///< Number of outputs; pixels of a picture's side.
  bool any() const { return width || classes || input_size; }
};

/// `data` with its picture size and its number of classes replaced by those that `options` give.
DatasetInfo resized(DatasetInfo data, const NetworkOptions& options);

/// A model of `graph` with start weights drawn from `seed` (ops/spec.hpp says how), which normalises its pictures by
/// the mean and deviation of `data`.
Model new_model(Graph graph, const DatasetInfo& data, uint64_t seed);

/// The same for the network called `name`, with as many outputs as `data` has classes. Where the pictures of `data` are
/// of any size, it gets its usual one. Throws std::invalid_argument for an unknown name or options that do not fit.
Model named_model(const std::string& name, const DatasetInfo& data, uint64_t seed, const ModelOptions& options = {});

}  // namespace pleat
