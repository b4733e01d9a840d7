#include "tools/time_training.hpp"

#include <chrono>

#include "core/rng.hpp"
#include "core/sgd.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/spec.hpp"

namespace pleat {

std::vector<double> time_training(Model model, int64_t batch, Kernels kernels, int64_t warmup, int64_t runs) {
  Exec exec(model.graph, model.tensors, {.batch = batch, .training = true, .kernels = kernels});
  const int64_t classes = exec.shape(model.graph.output()).c;
  AlignedVector<float> images(exec.input().size());
  Rng rng(0);
  for (float& pixel : images) pixel = static_cast<float>(rng.normal());
  std::vector<int32_t> labels(batch);
  for (int32_t& label : labels) label = static_cast<int32_t>(rng.below(static_cast<uint32_t>(classes)));
  Tensors velocities;
  for (const auto& [name, gradient] : exec.gradients()) velocities.try_emplace(name, gradient.shape);

  const auto step = [&] {
    exec.run(images);
    cross_entropy_forward<float>(exec.output(), labels, classes, 0);
    cross_entropy_backward<float>(exec.output_gradient(), exec.output(), labels, classes, 0);
    exec.backward();
    for (auto& [name, velocity] : velocities)
      sgd_step(model.tensors.at(name).values, exec.gradients().at(name).values, velocity.values, 0.001, 0, {});
  };
  for (int64_t i = 0; i < warmup; ++i) step();
  std::vector<double> seconds(runs);
  for (double& s : seconds) {
    const auto start = std::chrono::steady_clock::now();
    step();
    s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return seconds;
}

}  // namespace pleat
