#include "tools/train/average.hpp"

#include <algorithm>

#include "core/elementwise.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

PLEAT_INLINE inline void mix(float* average, const float* value, int64_t n, float part) {
  for (int64_t i = 0; i < n; ++i) average[i] += part * (value[i] - average[i]);
}

}  // namespace

Average::Average(const Model& model, double decay) : decay_(decay), tensors_(model.tensors) {
  for (const Parameter& p : parameters(model.graph))
    pairs_.push_back({&tensors_.at(p.name), &model.tensors.at(p.name), p.role == Role::alpha});
}

void Average::update(int64_t step) {
  const auto n = static_cast<double>(step);
  const auto part = static_cast<float>(1 - std::min(decay_, (1 + n) / (10 + n)));
  for (const Pair& pair : pairs_) {
    float* const average = pair.average->values.data();
    const float* const value = pair.value->values.data();
    if (pair.is_alpha) {
      *average = *value;
      continue;
    }
    for_elements(std::ssize(pair.value->values), [&](int64_t begin, int64_t n) {
      dispatch([=](auto) PLEAT_INLINE { mix(average + begin, value + begin, n, part); });
    });
  }
}

}  // namespace pleat
