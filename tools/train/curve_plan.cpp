#include "tools/train/curve_plan.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/progress.hpp"

namespace pleat {
namespace {

struct PaperDepth {
  const char* network;
  int cifar10, cifar100;
};
constexpr PaperDepth kPaperDepths[] = {
    {"resnet20", 9, 11},
    {"resnet32", 9, 11},
    {"resnet44", 9, 11},
    {"resnet56", 10, 10},
    {"vgg16_bn", 9, 12},
    {"vgg19_bn", 8, 12},
    {"mobilenet_v2_0.75_cifar", 10, 10},
    {"mobilenet_v2_1.0_cifar", 10, 10},
    {"mobilenet_v2_1.4_cifar", 9, 12},
};

CurveEpochs scaled(const CurveEpochs& recipe, double factor) {
  const auto scale = [&](int64_t epochs) {
    return epochs == 0 ? 0 : std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(epochs) * factor));
  };
  return {.base = scale(recipe.base), .prefold = scale(recipe.prefold), .depth = scale(recipe.depth)};
}

// Every `step`-th part of the depths, the last always.
std::vector<int> thinned(const std::vector<int>& depths, std::size_t count) {
  std::vector<int> kept;
  for (std::size_t i = 1; i <= count; ++i) kept.push_back(depths[i * depths.size() / count - 1]);
  return kept;
}

}  // namespace

int smallest_depth(const std::string& network, const std::string& data, int full) {
  for (const PaperDepth& row : kPaperDepths)
    if (network == row.network) {
      if (data == "cifar10") return row.cifar10;
      if (data == "cifar100") return row.cifar100;
    }
  return (full + 1) / 2;
}

std::vector<int> spaced_depths(int full, int smallest, int count) {
  std::vector<int> depths;
  const int steps = std::min(count, full - smallest);
  for (int i = 1; i <= steps; ++i)
    depths.push_back(full - static_cast<int>(std::lround(static_cast<double>(i) * (full - smallest) / steps)));
  return depths;
}

double CurveCosts::seconds(const CurveEpochs& epochs, int64_t depths) const {
  return epoch * static_cast<double>(epochs.base + epochs.prefold) +
         static_cast<double>(depths) * (depth_rest + depth_epoch * static_cast<double>(epochs.depth));
}

CurveEpochs fit_budget(const CurveEpochs& recipe, const CurveCosts& costs, double budget, bool fixed,
                       std::vector<int>& depths) {
  const CurveEpochs least = scaled(recipe, 0);
  const auto needed = [&](std::size_t count) { return costs.seconds(least, static_cast<int64_t>(count)); };
  std::size_t count = depths.size();
  while (!fixed && count > 1 && needed(count) > budget) --count;
  PLEAT_CHECK(needed(count) <= budget, "a budget of ", format_duration(budget), " is too small for ",
              count == 1 ? "one depth" : concat("these ", count, " depths"), ": with one epoch for each training ",
              format_duration(std::ceil(needed(count))), " are needed on this machine");
  depths = thinned(depths, count);
  // What does not scale is paid first.
  const double rest = static_cast<double>(count) * costs.depth_rest;
  const double factor = (budget - rest) / (costs.seconds(recipe, static_cast<int64_t>(count)) - rest);
  CurveEpochs epochs = scaled(recipe, factor);
  // Where the smallest numbers were rounded up to one epoch, the base has to give way.
  while (epochs.base > least.base && costs.seconds(epochs, static_cast<int64_t>(count)) > budget) --epochs.base;
  return epochs;
}

}  // namespace pleat
