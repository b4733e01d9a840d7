#include "tools/train/average.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

constexpr int64_t kBlock = 4096;  // elements; fewer are not worth waking another thread for

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
    const int64_t size = std::ssize(pair.value->values);
    if (pair.is_alpha) {
      *average = *value;
      continue;
    }
    parallel_for((size + kBlock - 1) / kBlock, [&](int64_t first, int64_t last, int) {
      const int64_t begin = first * kBlock, end = std::min(last * kBlock, size);
      dispatch([=](auto) PLEAT_INLINE { mix(average + begin, value + begin, end - begin, part); });
    });
  }
}

}  // namespace pleat
