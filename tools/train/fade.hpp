// Letting activations fade out: their alphas go linearly from where they are to 1, where the activation is the identity
// and can be dropped without a jump.
// Source: Chen et al. 2023, "VanillaNet: the power of minimalism in deep learning", arXiv:2305.12972, section 3.1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model.hpp"

namespace pleat {

class Fade {
 public:
  /// For the alphas called `names`, from their values in `model` now to 1 at step `steps` - 1. Throws
  /// std::invalid_argument if the model has no such alpha. `model` must outlive this and keep the tensors' addresses.
  Fade(Model& model, const std::vector<std::string>& names, int64_t steps);

  /// Sets the alphas for training step `step`, counted from 0.
  void apply(int64_t step);

 private:
  struct Alpha {
    float* value;
    float start;
  };
  std::vector<Alpha> alphas_;
  int64_t steps_;
};

}  // namespace pleat
