#include "tools/train/objective.hpp"

#include "core/check.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/loss/distillation.hpp"
#include "ops/loss/feature_error.hpp"
#include "ops/spec.hpp"
#include "tools/train/feature_part.hpp"

namespace pleat {
namespace {

void check_teacher(const Model& teacher, const Model& student, const std::string& name) {
  PLEAT_CHECK_FILE(teacher.mean == student.mean && teacher.std == student.std, name,
                   "the teacher normalises its input otherwise than the model that learns from it");
  PLEAT_CHECK_FILE(std::get<Input>(teacher.graph.nodes[0].op) == std::get<Input>(student.graph.nodes[0].op), name,
                   "the teacher takes other pictures: ", to_text(teacher.graph, 0), ", expected ",
                   to_text(student.graph, 0));
  const Nhwc given = infer_shapes(teacher.graph).back(), expected = infer_shapes(student.graph).back();
  PLEAT_CHECK_FILE(given == expected, name, "the teacher has ", given.c, " outputs, expected ", expected.c);
}

}  // namespace

Objective::Teacher::Teacher(Model part, const Recipe& recipe)
    : model(std::move(part)),
      exec(model.graph, model.tensors,
           {.batch = recipe.batch / recipe.ranks, .kernels = recipe.kernels, .dtype = recipe.dtype}) {}

Objective::Objective(const Recipe& recipe, const Model& student, const Model* teacher)
    : features_(recipe.learns_features()),
      classes_(infer_shapes(student.graph).back().c),
      label_smoothing_(recipe.label_smoothing),
      temperature_(recipe.temperature),
      teacher_weight_(recipe.teacher_weight) {
  PLEAT_CHECK(teacher || !features_, "objective: features are learned from a teacher, but there is none");
  if (!teacher) return;
  check_teacher(*teacher, student, recipe.teacher);
  if (features_) {
    const Model part = feature_part(*teacher), learner = feature_part(student);
    const auto shape = [](const Model& m) { return infer_shapes(m.graph)[m.graph.nodes.back().inputs[0]]; };
    const Nhwc given = shape(part), expected = shape(learner);
    PLEAT_CHECK_FILE(given == expected, recipe.teacher, "the teacher has features of ", given.h, "x", given.w, "x",
                     given.c, ", expected ", expected.h, "x", expected.w, "x", expected.c);
    teacher_.emplace(part, recipe);
    return;
  }
  teacher_.emplace(*teacher, recipe);
  distillation_gradient_.resize(recipe.batch / recipe.ranks * classes_);
}

double Objective::loss_and_gradient(std::span<float> gradient, std::span<const float> outputs, const Batch& batch) {
  if (features_) return feature_error(gradient, outputs, teacher_->exec.run(batch.images));
  const std::span<const float> logits = outputs;
  const double loss = cross_entropy_forward<float>(logits, batch.labels, classes_, label_smoothing_);
  cross_entropy_backward<float>(gradient, logits, batch.labels, classes_, label_smoothing_);
  if (!teacher_) return loss;
  const double w = teacher_weight_, t = temperature_;
  const std::span<const float> wanted = teacher_->exec.run(batch.images);
  distillation_backward<float>(distillation_gradient_, logits, wanted, classes_, t);
  for (std::size_t i = 0; i < gradient.size(); ++i)
    gradient[i] = static_cast<float>((1 - w) * gradient[i] + w * distillation_gradient_[i]);
  return (1 - w) * loss + w * distillation_forward<float>(logits, wanted, classes_, t);
}

}  // namespace pleat
