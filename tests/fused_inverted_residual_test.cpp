// Inverted residual blocks in one pass against the naive evaluator in double.
#include "fold/engine/fused_inverted_residual.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "core/rng.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"
#include "tests/reference.hpp"
#include "tests/tile_kernels.hpp"

namespace pleat {
namespace {

constexpr int kBetween = 200;
const Activation kRelu6{0, 6}, kLeaky{0.25f, 6};

// Random values that T can hold.
template <class T>
std::vector<double> random(int64_t size, uint64_t seed) {
  Rng rng(seed);
  std::vector<double> values(size);
  for (double& v : values) v = T(static_cast<float>(rng.normal()));
  return values;
}

template <class T>
AlignedVector<T> narrow(const std::vector<double>& values) {
  AlignedVector<T> result;
  for (const double v : values) result.push_back(T(static_cast<float>(v)));
  return result;
}

void activate(std::vector<double>& values, const Activation& act) {
  for (double& v : values) v = act.alpha * v + (1 - act.alpha) * std::clamp<double>(v, 0, act.limit);
}

// Largest difference of any cut of this block, as a part of the largest value.
template <class T>
double worst_cut(const Nhwc& x, const std::optional<Conv2d>& expand, const DepthwiseConv2d& filter) {
  const Nhwc between = expand ? testing::reference_shape(*expand, {x}) : x;
  const Nhwc filtered = testing::reference_shape(filter, {between}), y{x.n, filtered.h, filtered.w, 22};
  const auto input = random<T>(x.size(), 1), skip = random<T>(y.size(), 2);
  const auto expanding = random<T>(expand ? between.c * x.c * expand->kernel * expand->kernel : 0, 3);
  const auto depthwise = random<float>(between.c * filter.kernel * filter.kernel, 4);
  const auto project = random<T>(y.c * between.c, 5), bias = random<float>(between.c, 6);
  std::vector<double> value = input;
  if (expand) {
    value = testing::reference_forward(*expand, {input}, {x}, {.weight = expanding, .bias = bias});
    activate(value, kRelu6);
  }
  value = testing::reference_forward(filter, {value}, {between}, {.weight = depthwise, .bias = bias});
  activate(value, kLeaky);
  value = testing::reference_forward(Conv2d{.out = static_cast<int>(y.c)}, {value}, {filtered}, {.weight = project});
  double largest = 0;
  for (std::size_t i = 0; i < value.size(); ++i) largest = std::max(largest, std::abs(value[i] += skip[i]));

  const InvertedResidual block{x, between, y, expand, filter, {kRelu6, kLeaky, {}}};
  const auto wide_bias = narrow<float>(bias);
  const InvertedResidualKernel<T> kernel(
      block, {narrow<float>(expanding), wide_bias, narrow<float>(depthwise), wide_bias, narrow<float>(project), {}});
  std::vector<BlockCut> cuts = block_cuts(block);
  cuts.insert(cuts.end(), {{4, 48, 3}, {y.h, (between.c + 15) / 16 * 16, 1}});
  double worst = 0;
  for (const BlockCut& cut : cuts) {
    AlignedVector<T> out(y.size(), T(NAN));
    AlignedVector<float> scratch(kernel.scratch_size(cut), NAN);
    kernel(out, narrow<T>(input), narrow<T>(skip), scratch, cut);
    for (std::size_t i = 0; i < out.size(); ++i)
      if (const double error = std::abs(out[i] - value[i]); !(error <= worst)) worst = error;
  }
  return worst / largest;
}

void check(const Nhwc& x, const std::optional<Conv2d>& expand, const DepthwiseConv2d& filter) {
  CAPTURE(to_string(x));
  CAPTURE(expand ? expand->kernel : 0);
  CAPTURE(filter.kernel);
  CAPTURE(filter.stride);
  CHECK(worst_cut<float>(x, expand, filter) < 1e-6);
  // Three roundings to eight bits; the errors of the first two add up over 9 or 25 and 200 terms.
  if (has_tile_kernels<Bf16>()) CHECK(worst_cut<Bf16>(x, expand, filter) < 1.0 / 128);
}

DepthwiseConv2d depthwise(int kernel, int stride) {
  return {kernel, stride, Padding::uniform(kernel / 2), true};
}

}  // namespace

TEST_CASE("inverted residual: every cut of a block agrees with the naive evaluator") {
  if (testing::lacks_tile_kernels<float>()) return;
  testing::lacks_tile_kernels<Bf16>();  // says so
  for (const int width : {13, 5, 2})
    for (const int kernel : {3, 5})
      for (const int stride : {1, 2})
        check({2, 15, width, 10}, Conv2d{.out = kBetween, .bias = true}, depthwise(kernel, stride));
  check({2, 15, 13, kBetween}, std::nullopt, depthwise(3, 1));
}

TEST_CASE("inverted residual: every cut of a network's first block, too") {
  if (testing::lacks_tile_kernels<float>()) return;
  for (const int channels : {1, 3})
    for (const int width : {30, 7})
      for (const int stride : {1, 2})
        for (const Padding& pad : {Padding::uniform(1), Padding{0, 1, 2, 0}})
          check({2, 17, width, channels}, Conv2d{kBetween, 3, stride, pad, 1, true}, depthwise(3, 2));
  for (const int channels : {3, 4}) check({1, 20, 20, channels}, Conv2d{kBetween, 1, 2, {}, 1, true}, depthwise(3, 1));
  check({1, 20, 20, 3}, Conv2d{kBetween, 7, 2, Padding::uniform(3), 1, true}, depthwise(5, 1));
}

}  // namespace pleat
