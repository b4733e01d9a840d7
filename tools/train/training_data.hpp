// The pictures of a training run.
#pragma once

#include <string>

#include "core/model.hpp"
#include "data/augment.hpp"
#include "data/dataset.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

/// The two splits that a run needs. Without labels to train by, `test` may be empty: then nothing is evaluated.
struct TrainingData {
  Dataset train, test;
};

/// Reads both splits of `recipe.data` for `model`, as load_dataset_for does. A recipe that learns features takes the
/// pictures of `recipe.data` without labels (load_unlabelled), and those to test on from `recipe.val`, if it is given.
TrainingData load_training_data(const Model& model, const Recipe& recipe, bool quiet);

/// How the pictures of a training split are varied.
Augment augmentation(const Dataset& data, const Recipe& recipe);

/// A hash of the labels, and of the pictures in memory; of pictures in files their index tells (check_index).
std::string content_hash(const TrainingData& data);

}  // namespace pleat
