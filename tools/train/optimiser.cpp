#include "tools/train/optimiser.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.hpp"
#include "fold/alpha_loss.hpp"
#include "ops/spec.hpp"
#include "tools/train/adam.hpp"

namespace pleat {
namespace {

bool is_frozen(const std::string& parameter, const Recipe& recipe) {
  return std::ranges::any_of(
      recipe.freeze, [&](const std::string& pattern) { return fnmatch(pattern.c_str(), parameter.c_str(), 0) == 0; });
}

// Throws for a pattern that no parameter matches, and if nothing is left to train.
void check_frozen(const Model& model, const Recipe& recipe) {
  const std::vector<Parameter> all = parameters(model.graph);
  for (const std::string& pattern : recipe.freeze)
    PLEAT_CHECK(
        std::ranges::any_of(all, [&](const Parameter& p) { return fnmatch(pattern.c_str(), p.name.c_str(), 0) == 0; }),
        "freeze: no parameter's name matches '", pattern,
        "'\nhint: `pleat inspect` prints the nodes' names; a parameter's is its node's with .weight or .bias");
  PLEAT_CHECK(!std::ranges::all_of(all, [&](const Parameter& p) { return is_frozen(p.name, recipe); }),
              "freeze: nothing is left to train");
}

}  // namespace

Optimiser::Optimiser(Model& model, const Tensors& gradients, const Recipe& recipe)
    : recipe_(recipe), sgd_{.momentum = recipe.momentum, .nesterov = recipe.nesterov}, lambda_(recipe.lambda) {
  std::vector<MuonWeight> by_muon;
  for (const Parameter& p : parameters(model.graph)) {
    const bool is_alpha = p.role == Role::alpha, is_norm = p.role == Role::norm_weight || p.role == Role::norm_bias;
    if (!trainable(p.role) || (is_alpha && !recipe.trains_alphas()) || is_frozen(p.name, recipe)) continue;
    const double norm_decay = recipe.norm_weight_decay.value_or(recipe.weight_decay);
    const double decay = is_alpha ? 0 : is_norm ? norm_decay : recipe.weight_decay;
    const double lr_factor = is_norm || p.role == Role::bias ? recipe.bias_norm_lr : 1;
    const bool dense = p.role == Role::weight && p.shape.size() == 4 && p.shape[1] > 1;
    trained_.push_back({.name = p.name,
                        .is_alpha = is_alpha,
                        .by_muon = recipe.muon_lr > 0 && dense && !recipe.adam,
                        .lr_factor = lr_factor,
                        .weight_decay = decay / lr_factor,  // it is multiplied by the learning rate
                        .value = &model.tensors.at(p.name),
                        .velocity = &velocities_.try_emplace(p.name, p.shape).first->second,
                        .square = recipe.adam && !is_alpha
                                      ? &velocities_.try_emplace(p.name + " square", p.shape).first->second
                                      : nullptr,
                        .gradient = &gradients.at(p.name)});
    const Trained& t = trained_.back();
    if (t.by_muon) by_muon.push_back({t.value, t.gradient, t.velocity});
  }
  check_frozen(model, recipe);
  if (!by_muon.empty()) muon_.emplace(std::move(by_muon));
}

void Optimiser::step(double lr, int64_t step) {
  for (const Trained& t : trained_) {
    if (t.is_alpha)
      step_alpha(t, lr);
    else if (t.square)
      adam_step(t.value->values, t.gradient->values, t.velocity->values, t.square->values, step + 1, lr * t.lr_factor,
                t.weight_decay);
    else if (!t.by_muon)
      sgd_step(t.value->values, t.gradient->values, t.velocity->values, lr * t.lr_factor, t.weight_decay, sgd_);
  }
  // Muon's rate follows the same schedule, and its weights decay as they would under SGD.
  if (muon_) muon_->step(recipe_.lr > 0 ? recipe_.muon_lr * lr / recipe_.lr : 0, lr * recipe_.weight_decay, sgd_);
}

void Optimiser::step_alpha(const Trained& t, double lr) const {
  float& alpha = t.value->values[0];
  if (alpha >= 1) return;
  float gradient = t.gradient->values[0];
  alpha_loss_gradient({&gradient, 1}, {&alpha, 1}, lambda_, recipe_.p);
  sgd_step({&alpha, 1}, {&gradient, 1}, t.velocity->values, lr, 0, sgd_);
  alpha = std::clamp(alpha, 0.0f, 1.0f);
}

int64_t Optimiser::adapt_lambda(int64_t arrived) {
  const int64_t now =
      std::ranges::count_if(trained_, [](const Trained& t) { return t.is_alpha && t.value->values[0] >= 1; });
  if (now <= arrived) lambda_ *= recipe_.lambda_growth;
  return now;
}

bool Optimiser::gradients_are_finite() const {
  return std::ranges::all_of(trained_, [](const Trained& t) {
    return std::ranges::all_of(t.gradient->values, [](float v) { return std::isfinite(v); });
  });
}

nlohmann::ordered_json Optimiser::alphas() const {
  nlohmann::ordered_json values;
  for (const Trained& t : trained_)
    if (t.is_alpha) values[t.name] = t.value->values[0];
  return values;
}

}  // namespace pleat
