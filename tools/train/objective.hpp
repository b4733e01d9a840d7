// What training minimises: the cross entropy of the labels, alone or mixed with the distillation from a teacher; or,
// without labels, the distance of features from a teacher's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/model.hpp"
#include "data/loader.hpp"
#include "ops/exec/exec.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

class Objective {
 public:
  /// For training `student` by `recipe`. `teacher` may be null unless the recipe learns features; then both are whole
  /// networks, too. Throws std::runtime_error naming the recipe's teacher if it takes other pictures than the student,
  /// normalises them otherwise, or has other outputs or features.
  Objective(const Recipe& recipe, const Model& student, const Model* teacher);

  /// The loss of `outputs`, logits [batch, classes] or features (feature_part), on a batch of recipe.batch pictures,
  /// and its gradient with respect to them:
  ///   loss = (1 - w) * cross entropy + w * distillation, with w = recipe.teacher_weight; without a teacher w = 0
  ///   loss = feature_error, if the recipe learns features
  double loss_and_gradient(std::span<float> gradient, std::span<const float> outputs, const Batch& batch);

 private:
  // The teacher, ready to run. Running it writes into its own buffers alone, but needs tensors that could be written.
  struct Teacher {
    Teacher(Model part, const Recipe& recipe);
    Model model;
    Exec exec;
  };

  const bool features_;
  const int64_t classes_;
  const double label_smoothing_, temperature_, teacher_weight_;
  std::optional<Teacher> teacher_;
  std::vector<float> distillation_gradient_;
};

}  // namespace pleat
