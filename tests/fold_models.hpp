// Models with suitable parameters for tests of folding.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/rng.hpp"
#include "ops/spec.hpp"
#include "tests/reference.hpp"

namespace pleat::testing {

using Values = std::vector<double>;

inline int between(Rng& rng, int lo, int hi) {
  return lo + static_cast<int>(rng.below(hi - lo + 1));
}

// Every parameter is a small whole number and every alpha one half; batch norms divide by 1 or 2 (with eps=0). Merging
// is then exact.
inline Model whole_numbers(const Graph& graph, uint64_t seed) {
  Model model{.graph = graph, .tensors = initial_tensors(graph, 0), .mean = {}, .std = {}, .classes = {}, .notes = {}};
  Rng rng(seed, 1);
  for (const Parameter& p : parameters(graph))
    for (float& value : model.tensors[p.name].values) {
      if (p.role == Role::running_var)
        value = between(rng, 0, 1) ? 4 : 1;
      else if (p.role == Role::alpha)
        value = 0.5;
      else if (p.role == Role::norm_weight)
        value = static_cast<float>(between(rng, 0, 1) ? 2 : -2);
      else
        value = static_cast<float>(between(rng, -1, 1));
    }
  return model;
}

// Realistic parameters: the usual initial weights, but batch norms and alphas with random values.
inline Model real_numbers(const Graph& graph, uint64_t seed) {
  Model model{
      .graph = graph, .tensors = initial_tensors(graph, seed), .mean = {}, .std = {}, .classes = {}, .notes = {}};
  Rng rng(seed, 2);
  for (const Parameter& p : parameters(graph))
    for (float& value : model.tensors[p.name].values) {
      if (p.role == Role::running_var || p.role == Role::norm_weight) value = static_cast<float>(0.5 + rng.uniform());
      if (p.role == Role::running_mean || p.role == Role::norm_bias) value = static_cast<float>(0.3 * rng.normal());
      if (p.role == Role::alpha) value = static_cast<float>(rng.uniform());
    }
  return model;
}

inline Values whole_picture(const Nhwc& shape, uint64_t seed) {
  Values x(shape.size());
  Rng rng(seed, 3);
  for (double& value : x) value = between(rng, -3, 3);
  return x;
}

inline Values run(const Model& model, const Values& x, int64_t n = 1) {
  return reference_run(model.graph, model.tensors, x, n).back();
}

}  // namespace pleat::testing
