// What training minimises: the cross entropy of the labels, alone or mixed with the distillation from a teacher.
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
  /// For training `student` by `recipe`. `teacher`, which may be null, must outlive the objective. Throws
  /// std::runtime_error naming the recipe's teacher if it takes other pictures than the student, or normalises them
  /// otherwise.
  Objective(const Recipe& recipe, const Model& student, const Model* teacher);

  /// The loss of `logits` [batch, classes] on a batch of recipe.batch pictures, and its gradient with respect to them:
  ///   loss = (1 - w) * cross entropy + w * distillation, with w = recipe.teacher_weight; without a teacher w = 0.
  double loss_and_gradient(std::span<float> gradient, std::span<const float> logits, const Batch& batch);

 private:
  // The teacher, ready to run. Running it writes into its own buffers alone, but needs tensors that could be written.
  struct Teacher {
    Teacher(const Model& model, const Recipe& recipe);
    Tensors tensors;
    Exec exec;
  };

  const int64_t classes_;
  const double label_smoothing_, temperature_, teacher_weight_;
  std::optional<Teacher> teacher_;
  std::vector<float> distillation_gradient_;
};

}  // namespace pleat
