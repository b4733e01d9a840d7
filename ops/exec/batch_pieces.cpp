#include "ops/exec/batch_pieces.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "ops/spec.hpp"

namespace pleat {
namespace {

// Bytes of values that one piece touches, forward or backward: they should stay in the cache. But every piece reads the
// group's weights again, so that there should be several times as much of the one as of the other.
constexpr int64_t kPieceBytes = 12 << 20, kPerWeightByte = 4;

int64_t largest_divisor(int64_t n, int64_t at_most) {
  for (int64_t d = std::min(n, at_most); d > 1; --d)
    if (n % d == 0) return d;
  return 1;
}

// Every weight of a convolution or linear layer is multiplied once for each pixel.
int64_t weight_bytes(const Graph& graph, const std::vector<Nhwc>& shapes, int node) {
  return 4 * macs(graph, node, shapes) / (shapes[node].h * shapes[node].w);
}

}  // namespace

std::vector<int64_t> choose_batch_pieces(const Graph& graph, const ExecPlan& plan, const std::vector<Nhwc>& shapes,
                                         const ExecPlanOptions& options) {
  std::vector<int64_t> bytes(plan.steps.back().group + 1, 0), wanted(bytes.size(), kPieceBytes);
  std::set<std::pair<int, int>> counted;  // (group, node)
  for (const PlannedStep& step : plan.steps) {
    const auto count = [&](int node) {
      if (counted.emplace(step.group, node).second) bytes[step.group] += shapes[node].size() * plan.value_bytes(node);
    };
    for (int input : step.inputs) count(input);
    if (!step.statistics) count(step.node);
    wanted[step.group] += kPerWeightByte * weight_bytes(graph, shapes, step.node);
  }
  std::vector<int64_t> pieces;
  for (std::size_t group = 0; group < bytes.size(); ++group) {
    const int64_t touched = std::max<int64_t>((options.training ? 2 : 1) * bytes[group], 1);  // with gradients
    pieces.push_back(options.piece ? options.piece : largest_divisor(options.batch, wanted[group] / touched));
  }
  return pieces;
}

}  // namespace pleat
