// What a training step does to a model's parameters: which of them it changes, and by which rule each.
//
//   convolutions' weights     SGD; Muon if the recipe has a rate for it (not depthwise ones: each row of those is the
//                             filter of a channel of its own, so there is nothing to make orthogonal)
//   other weights and biases  SGD
//   batch norms               SGD, with a weight decay of their own; running statistics are the executor's business
//   all biases, batch norms   at Recipe::bias_norm_lr times the learning rate, with the same weight decay as at 1
//   alphas                    SGD on the loss plus lambda * sum(1 - alpha^p), then clipped to 0..1, if the recipe
//   trains
//                             them. An alpha that has arrived at 1 stays there: its activation is the identity.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/train/muon.hpp"
#include "tools/train/recipe.hpp"
#include "tools/train/sgd.hpp"

namespace pleat {

class Optimiser {
 public:
  /// Changes `model` in place by `gradients` (an executor's). Both must outlive this and keep the tensors' addresses.
  Optimiser(Model& model, const Tensors& gradients, const Recipe& recipe);

  /// One step by the gradients as they are now. `lr` is SGD's or Adam's rate; Muon's is in proportion to it. `step`
  /// is the number of steps before this one.
  void step(double lr, int64_t step);

  bool gradients_are_finite() const;

  /// The momentum of each trained parameter, by its name, and Adam's mean square by the name and " square": what a
  /// checkpoint must hold.
  Tensors& velocities() { return velocities_; }
  const Tensors& velocities() const { return velocities_; }

  /// The weight of the alphas' loss. `adapt_lambda` multiplies it by the recipe's lambda_growth unless more alphas have
  /// arrived at 1 than `arrived`; it returns how many have.
  double lambda() const { return lambda_; }
  void set_lambda(double lambda) { lambda_ = lambda; }
  int64_t adapt_lambda(int64_t arrived);

  /// The trained alphas' values by name; null if the recipe trains none.
  nlohmann::ordered_json alphas() const;

 private:
  // One parameter that a step changes.
  struct Trained {
    std::string name;
    bool is_alpha, by_muon;
    double lr_factor, weight_decay;
    Tensor *value, *velocity;
    Tensor* square;  // of Adam alone; else null
    const Tensor* gradient;
  };
  void step_alpha(const Trained& alpha, double lr) const;

  const Recipe recipe_;
  const SgdOptions sgd_;
  double lambda_;
  Tensors velocities_;
  std::vector<Trained> trained_;
  std::optional<Muon> muon_;
};

}  // namespace pleat
