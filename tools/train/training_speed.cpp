#include "tools/train/training_speed.hpp"

#include "core/clock.hpp"
#include "core/rng.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "tools/train/sgd.hpp"

namespace pleat {

TrainingSteps::TrainingSteps(Model model, const ExecOptions& options)
    : model_(std::move(model)),
      exec_(model_.graph, model_.tensors, options),
      images_(exec_.input().size()),
      labels_(options.batch) {
  Rng rng(0);
  for (float& pixel : images_) pixel = static_cast<float>(rng.normal());
  const auto classes = static_cast<uint32_t>(exec_.shape(model_.graph.output()).c);
  for (int32_t& label : labels_) label = static_cast<int32_t>(rng.below(classes));
  for (const auto& [name, gradient] : exec_.gradients()) velocities_.try_emplace(name, gradient.shape);
}

void TrainingSteps::step(StepTimes* times) {
  const int64_t classes = exec_.shape(model_.graph.output()).c;
  std::copy(images_.begin(), images_.end(), exec_.input().begin());
  exec_.forward(times);
  cross_entropy_forward<float>(exec_.output(), labels_, classes, 0);
  cross_entropy_backward<float>(exec_.output_gradient(), exec_.output(), labels_, classes, 0);
  exec_.backward(times);
  for (auto& [name, velocity] : velocities_)
    sgd_step(model_.tensors.at(name).values, exec_.gradients().at(name).values, velocity.values, 0.001, 0, {});
}

std::vector<double> time_training(Model model, const ExecOptions& options, int64_t warmup, int64_t runs) {
  TrainingSteps training(std::move(model), options);
  for (int64_t i = 0; i < warmup; ++i) training.step();
  std::vector<double> seconds(runs);
  for (double& s : seconds) {
    const auto start = Clock::now();
    training.step();
    s = seconds_since(start);
  }
  return seconds;
}

}  // namespace pleat
