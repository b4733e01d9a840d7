#include "core/arena.hpp"

#include <algorithm>
#include <numeric>

namespace pleat {

ArenaPlan plan_arena(const std::vector<Lifetime>& buffers) {
  constexpr int64_t kUnit = 16;
  ArenaPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  std::vector<int> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return buffers[a].size > buffers[b].size; });

  const auto rounded = [](int64_t size) { return (size + kUnit - 1) / kUnit * kUnit; };
  std::vector<int> placed;  // by offset
  for (int b : order) {
    int64_t offset = 0;
    for (int p : placed) {
      const bool meet = buffers[p].first <= buffers[b].last && buffers[b].first <= buffers[p].last;
      if (!meet) continue;
      if (offset + rounded(buffers[b].size) <= plan.offsets[p]) break;
      offset = std::max(offset, plan.offsets[p] + rounded(buffers[p].size));
    }
    plan.offsets[b] = offset;
    plan.total = std::max(plan.total, offset + rounded(buffers[b].size));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                   [&](int x, int y) { return plan.offsets[x] < plan.offsets[y]; }),
                  b);
  }
  return plan;
}

}  // namespace pleat
