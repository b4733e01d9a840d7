// A running average of a model's weights during training, which is often better than the weights themselves:
//   average = d * average + (1 - d) * weight after each step, with d = min(decay, (1 + n) / (10 + n)) at step n,
// so that the average forgets the start weights quickly. Running statistics of batch norms are averaged like weights;
// alphas are not, because an alpha that has arrived at 1 must be 1.
// Source: Polyak & Juditsky 1992; the growing decay is that of TensorFlow's ExponentialMovingAverage.
#pragma once

#include <cstdint>

#include "core/model.hpp"

namespace pleat {

class Average {
 public:
  /// Begins with the weights as they are now. `model` must outlive this and keep the tensors' addresses.
  Average(const Model& model, double decay);

  /// After training step `step`, counted from 0.
  void update(int64_t step);

  /// The averages, under the parameters' names; their addresses stay the same.
  Tensors& tensors() { return tensors_; }
  const Tensors& tensors() const { return tensors_; }

 private:
  struct Pair {
    Tensor* average;
    const Tensor* value;
    bool is_alpha;
  };
  const double decay_;
  Tensors tensors_;
  std::vector<Pair> pairs_;
};

}  // namespace pleat
