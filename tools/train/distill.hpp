// What comes before a training that learns features (feature_part): checks that need no time, and how long it takes.
#pragma once

#include <cstdint>

#include "core/model.hpp"
#include "tools/train/recipe.hpp"
#include "tools/train/trainer.hpp"

namespace pleat {

/// Throws std::runtime_error or std::invalid_argument if the teacher does not fit the model, the classes of the
/// pictures to test on are not the model's, there is less than a batch of pictures, or the first of them are all of one
/// colour or cannot be read.
void check_distillation(const Model& model, const Model& teacher, const TrainingData& data, const Recipe& recipe);

/// How many epochs, at least 1, fit into `seconds`, by a few steps on pictures as they come.
int64_t epochs_within(double seconds, const Model& model, const Model& teacher, const TrainingData& data,
                      const Recipe& recipe);

}  // namespace pleat
