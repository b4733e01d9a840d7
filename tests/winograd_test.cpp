// Winograd's convolution against the naive evaluator and the native kernels (whose gradients tests/ops_test.cpp checks
// by finite differences), both in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/rng.hpp"
#include "core/simd/bf16.hpp"
#include "ops/conv/choose_training_algorithm.hpp"
#include "ops/conv/conv2d.hpp"
#include "ops/conv/conv2d_onednn.hpp"
#include "ops/conv/winograd/winograd_conv2d.hpp"
#include "ops/conv/winograd/winograd_pass.hpp"
#include "tests/alloc_count.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/reference.hpp"
#include "tests/tile_kernels.hpp"

namespace pleat::testing {
namespace {

constexpr float kGradientStart = 0.5f;  // Parameter gradients are added to what is there.
constexpr int kPieces = 2;              // of a batch, with the same weights

struct Case {
  Nhwc x;
  Conv2d op;
};

Case conv(const Nhwc& x, int out, const Padding& pad, bool bias = false) {
  return {x, {.out = out, .kernel = 3, .stride = 1, .pad = pad, .bias = bias}};
}

std::string describe(const Case& c, int tile) {
  return concat("F(", tile, "x", tile, ") ", to_string(c.x), " to ", c.op.out, ", pad ", c.op.pad.top, " ",
                c.op.pad.left, " ", c.op.pad.bottom, " ", c.op.pad.right, ", ", num_threads(), " threads");
}

// A convolution's values and gradients, those of the parameters summed over the pieces. Activations are of type T,
// drawn as what `Stored` can hold.
template <class T, class Stored = T>
struct Values {
  std::array<std::vector<T>, kPieces> x, y, dx, dy;
  std::vector<compute_t<T>> weight, bias, dweight, dbias;

  explicit Values(const Case& c) {
    const Nhwc y_shape = reference_shape(c.op, {c.x});
    for (int piece = 0; piece < kPieces; ++piece) {
      x[piece].resize(c.x.size());
      dx[piece].resize(c.x.size());
      y[piece].resize(y_shape.size());
      dy[piece].resize(y_shape.size());
    }
    weight.resize(c.op.out * c.x.c * 9);
    bias.resize(c.op.bias ? c.op.out : 0);
    dweight.assign(weight.size(), kGradientStart);
    dbias.assign(bias.size(), kGradientStart);
    Rng rng(1);
    for (auto* values : {&weight, &bias})
      for (auto& v : *values) v = static_cast<float>(rng.normal());
    for (auto* pieces : {&x, &dy})
      for (auto& piece : *pieces)
        for (T& v : piece) v = T(static_cast<float>(Stored(static_cast<float>(rng.normal()))));
  }
};

// Everything by the native kernels.
template <class Stored>
Values<double, Stored> native(const Case& c) {
  Values<double, Stored> v(c);
  std::vector<double> workspace(conv2d_workspace(c.x, c.op));
  for (int piece = 0; piece < kPieces; ++piece) {
    conv2d_forward<double>(v.y[piece], v.x[piece], v.weight, v.bias, c.x, c.op, workspace);
    conv2d_backward_data<double>(v.dx[piece], v.dy[piece], v.weight, c.x, c.op, workspace);
    conv2d_backward_weights<double>(v.dweight, v.dbias, v.dy[piece], v.x[piece], c.x, c.op, workspace);
  }
  return v;
}

// One training step.
template <class T>
void step(ConvKernel<T>& conv, Values<T>& v) {
  conv.begin_forward(v.weight);
  for (int piece = 0; piece < kPieces; ++piece) conv.forward(v.y[piece], v.x[piece], v.bias, {});
  conv.begin_backward(v.weight, v.dweight, v.dbias);
  for (int piece = 0; piece < kPieces; ++piece) {
    conv.backward_data(v.dx[piece], v.dy[piece], {});
    conv.backward_weights(v.dy[piece], v.x[piece], {});
  }
  conv.end_backward();
}

template <class T>
Values<T> winograd(const Case& c, int tile) {
  Values<T> v(c);
  WinogradConv2d<T> conv(c.x, c.op, tile, kAllPasses);
  // The last step must forget those before it, even one that was given up.
  step(conv, v);
  conv.begin_backward(v.weight, v.dweight, v.dbias);
  conv.backward_weights(v.dy[0], v.x[0], {});
  v.dweight.assign(v.dweight.size(), kGradientStart);
  v.dbias.assign(v.dbias.size(), kGradientStart);
  step(conv, v);
  return v;
}

template <class T>
void check_against(const Values<double, T>& expected, const Case& c, int tile) {
  CAPTURE(describe(c, tile));
  const double arithmetic = tile == 2 ? 1e-6 : 5e-6;
  const double storage = std::is_same_v<T, Bf16> ? 1.0 / 256 : 0;  // half a unit of the last of eight bits
  const Values<T> got = winograd<T>(c, tile);
  for (int piece = 0; piece < kPieces; ++piece) {
    CHECK(difference(got.y[piece], expected.y[piece]) <= arithmetic + storage);
    CHECK(difference(got.dx[piece], expected.dx[piece]) <= arithmetic + storage);
  }
  CHECK(difference(got.dweight, expected.dweight) <= arithmetic);
  CHECK(difference(got.dbias, expected.dbias) <= 5e-6);  // plain sums: as the native kernels
}

const Padding kSame = Padding::uniform(1);

}  // namespace

TEST_CASE_TEMPLATE("winograd: odd sizes, paddings and channels agree with the naive evaluator and the native kernels",
                   T, float, Bf16) {
  if (lacks_tile_kernels<T>()) return;
  const std::vector<Case> cases{
      conv({2, 7, 9, 5}, 19, kSame, /*bias=*/true),
      conv({2, 6, 10, 17}, 3, {}, /*bias=*/true),
      conv({1, 3, 3, 1}, 1, {}),
      conv({1, 1, 1, 3}, 2, kSame),
      conv({3, 2, 2, 16}, 32, kSame),
      conv({1, 4, 4, 70}, 50, kSame, /*bias=*/true),
      conv({1, 8, 5, 24}, 40, {0, 1, 2, 0}),
      conv({2, 5, 6, 8}, 16, Padding::uniform(3)),
      conv({3, 33, 31, 5}, 7, kSame, /*bias=*/true),  // threads have blocks of their own, and several
  };
  const Threads restore;
  for (const Case& c : cases) {
    const Values<double, T> expected = native<T>(c);
    for (int piece = 0; piece < kPieces; ++piece)
      CHECK(difference(expected.y[piece],
                       reference_forward(c.op, {expected.x[piece]}, {c.x}, {expected.weight, expected.bias})) <= 1e-13);
    for (const int tile : {2, 4})
      for (const int threads : {1, 3}) {
        set_num_threads(threads);
        check_against<T>(expected, c, tile);
      }
  }
}

TEST_CASE("winograd: many channels, whose blocks all threads share, agree with the native kernels") {
  if (lacks_tile_kernels<float>()) return;
  const Threads restore;
  set_num_threads(3);
  // Gradients too large to have one a thread; weights, too, and more than one block.
  for (const Case& c : {conv({9, 8, 8, 160}, 144, kSame), conv({65, 8, 8, 288}, 256, kSame)})
    check_against<float>(native<float>(c), c, 4);
}

TEST_CASE("convolutions with an algorithm for each pass: every pass is that algorithm's, bit for bit") {
  if (lacks_tile_kernels<float>()) return;
  const Case c = conv({2, 8, 9, 20}, 17, kSame, /*bias=*/true);
  const auto with = [&](const ConvAlgorithms& algorithms) {
    Values<float> v(c);
    step(*make_conv_kernel<float>(c.x, c.op, {.passes = kAllPasses, .algorithms = algorithms}), v);
    return v;
  };
  const std::vector<Algorithm> algorithms = algorithms_for(c.x, c.op, /*bf16=*/false);
  REQUIRE(algorithms.size() == 3);
  std::map<Algorithm, Values<float>> alone;
  for (const Algorithm a : algorithms) alone.emplace(a, with({a, a, a}));
  CHECK(alone.at(Algorithm::direct).y != alone.at(Algorithm::winograd2).y);
  CHECK(alone.at(Algorithm::winograd4).dweight != alone.at(Algorithm::winograd2).dweight);
  for (const Algorithm forward : algorithms)
    for (const Algorithm data : algorithms)
      for (const Algorithm weights : algorithms) {
        const Values<float> mixed = with({forward, data, weights});
        CHECK(mixed.y == alone.at(forward).y);
        CHECK(mixed.dx == alone.at(data).dx);
        CHECK(mixed.dweight == alone.at(weights).dweight);
        CHECK(mixed.dbias == alone.at(weights).dbias);
      }
}

TEST_CASE("winograd: same threads, same bits") {
  if (lacks_tile_kernels<float>()) return;
  const Threads restore;
  set_num_threads(3);
  const Case c = conv({3, 33, 31, 5}, 7, kSame, /*bias=*/true);
  const Values<float> a = winograd<float>(c, 4), b = winograd<float>(c, 4);
  CHECK(a.y == b.y);
  CHECK(a.dx == b.dx);
  CHECK(a.dweight == b.dweight);
  CHECK(a.dbias == b.dbias);
}

TEST_CASE("winograd: a step allocates nothing") {
  if (lacks_tile_kernels<float>()) return;
  const Case c = conv({3, 33, 31, 5}, 7, kSame, /*bias=*/true);
  Values<float> v(c);
  WinogradConv2d<float> conv(c.x, c.op, 4, kAllPasses);
  step(conv, v);
  CHECK(count_allocations([&] { step(conv, v); }).own == 0);
}

TEST_CASE("winograd: refuses other convolutions, buffers of the wrong size and calls out of order") {
  if (lacks_tile_kernels<float>()) return;
  const auto refuses = [](const std::string& message, const auto& call) {
    CHECK(error_of<std::invalid_argument>(call) == "conv2d (Winograd): " + message);
  };
  const std::string out_of_order = " out of order, or not asked for at construction";
  const Case c = conv({2, 5, 5, 4}, 4, kSame);
  const auto make = [&](const Conv2d& op, int tile) { WinogradConv2d<float>(c.x, op, tile, {}); };
  refuses("kernel=3 stride=2 groups=1, expected 3, 1, 1 and a CPU with AVX2",
          [&] { make({.out = 4, .kernel = 3, .stride = 2}, 4); });
  refuses("kernel=1 stride=1 groups=1, expected 3, 1, 1 and a CPU with AVX2",
          [&] { make({.out = 4, .kernel = 1}, 4); });
  refuses("kernel=3 stride=1 groups=2, expected 3, 1, 1 and a CPU with AVX2",
          [&] { make({.out = 4, .kernel = 3, .groups = 2}, 4); });
  refuses("tiles of 3x3 outputs, expected 2x2 or 4x4", [&] { make(c.op, 3); });

  Values<float> v(c);
  const std::span<const float> x = v.x[0], dy = v.dy[0], weight = v.weight;
  const std::span<float> y = v.y[0], dx = v.dx[0], dweight = v.dweight;
  WinogradConv2d<float> winograd(c.x, c.op, 4, kAllPasses);
  refuses("forward" + out_of_order, [&] { winograd.forward(y, x, {}, {}); });
  refuses("weight has 9 elements, expected 144", [&] { winograd.begin_forward(weight.first(9)); });
  winograd.begin_forward(weight);
  refuses("x has 7 elements, expected 200", [&] { winograd.forward(y, x.first(7), {}, {}); });
  refuses("y has 7 elements, expected 200", [&] { winograd.forward(y.first(7), x, {}, {}); });
  refuses("bias has 4 elements, expected 0", [&] { winograd.forward(y, x, x.first(4), {}); });
  refuses("backward_data" + out_of_order, [&] { winograd.backward_data(dx, dy, {}); });
  refuses("backward_weights" + out_of_order, [&] { winograd.backward_weights(dy, x, {}); });
  refuses("weight has 9 elements, expected 144", [&] { winograd.begin_backward(weight.first(9), dweight, {}); });
  refuses("dweight has 9 elements, expected 144", [&] { winograd.begin_backward(weight, dweight.first(9), {}); });
  refuses("dbias has 4 elements, expected 0", [&] { winograd.begin_backward(weight, dweight, dx.first(4)); });
  winograd.begin_backward(weight, dweight, {});
  refuses("forward" + out_of_order, [&] { winograd.forward(y, x, {}, {}); });
  refuses("dx has 7 elements, expected 200", [&] { winograd.backward_data(dx.first(7), dy, {}); });
  refuses("dy has 7 elements, expected 200", [&] { winograd.backward_data(dx, dy.first(7), {}); });
  refuses("dy has 7 elements, expected 200", [&] { winograd.backward_weights(dy.first(7), x, {}); });
  refuses("x has 7 elements, expected 200", [&] { winograd.backward_weights(dy, x.first(7), {}); });
  refuses("end_backward" + out_of_order, [&] { winograd.end_backward(); });

  WinogradConv2d<float> first(c.x, c.op, 4, {.backward_weights = true});
  first.begin_backward(weight, dweight, {});
  refuses("backward_data" + out_of_order, [&] { first.backward_data(dx, dy, {}); });
  WinogradConv2d<float> evaluation(c.x, c.op, 4, {});
  refuses("begin_backward" + out_of_order, [&] { evaluation.begin_backward(weight, dweight, {}); });
}

TEST_CASE("bench: Winograd's convolution against oneDNN's direct one" * doctest::skip()) {
  struct Layer {
    int in, out;
    int64_t edge;
  };
  constexpr std::array<Layer, 11> kLayers{{{64, 64, 32},
                                           {64, 128, 16},
                                           {128, 128, 16},
                                           {128, 256, 8},
                                           {256, 256, 8},
                                           {256, 512, 4},
                                           {512, 512, 4},
                                           {512, 512, 2},
                                           {16, 16, 32},
                                           {32, 32, 16},
                                           {64, 64, 8}}};
  constexpr int64_t kBatch = 32;
  using Seconds = std::array<double, 6>;  // y, dx, dw, begin_forward, begin_backward, end_backward
  const auto time = [](double& best, const auto& call) {
    const auto start = Clock::now();
    call();
    best = std::min(best, seconds_since(start));
  };
  std::printf("%d threads, batch %d; GFLOP/s, counting those of the direct sum, and ms to begin twice and end\n",
              num_threads(), int{kBatch});
  std::printf("%-8s%8s %7s %7s %8s %7s %7s\n", "", "y", "dx", "dw", "begin", "begin", "end");
  for (const Layer& layer : kLayers) {
    const Case c = conv({kBatch, layer.edge, layer.edge, layer.in}, layer.out, kSame);
    Values<float> v(c);
    const ConvPasses passes = kAllPasses;
    std::array<std::unique_ptr<ConvKernel<float>>, 3> kernels{
        std::make_unique<OnednnConv2d<float>>(c.x, c.op, passes),
        std::make_unique<WinogradConv2d<float>>(c.x, c.op, 2, passes),
        std::make_unique<WinogradConv2d<float>>(c.x, c.op, 4, passes)};
    std::array<Seconds, 3> seconds;
    for (Seconds& s : seconds) s.fill(1e30);
    for (int i = 0; i < 15; ++i)  // the best of several, in turn: on a shared machine the rest measures the neighbours
      for (std::size_t k = 0; k < kernels.size(); ++k) {
        ConvKernel<float>& kernel = *kernels[k];
        Seconds& s = seconds[k];
        time(s[3], [&] { kernel.begin_forward(v.weight); });
        time(s[0], [&] { kernel.forward(v.y[0], v.x[0], {}, {}); });
        time(s[4], [&] { kernel.begin_backward(v.weight, v.dweight, {}); });
        time(s[1], [&] { kernel.backward_data(v.dx[0], v.dy[0], {}); });
        time(s[2], [&] { kernel.backward_weights(v.dy[0], v.x[0], {}); });
        time(s[5], [&] { kernel.end_backward(); });
      }
    const double work = 2e-9 * 9 * layer.in * static_cast<double>(v.y[0].size());
    for (std::size_t k = 0; k < kernels.size(); ++k) {
      const Seconds& s = seconds[k];
      constexpr std::array kNames{"oneDNN", "F(2x2)", "F(4x4)"};
      std::printf("%-8s%8.0f %7.0f %7.0f %8.2f %7.2f %7.2f  %d to %d on %dx%d\n", kNames[k], work / s[0], work / s[1],
                  work / s[2], 1e3 * s[3], 1e3 * s[4], 1e3 * s[5], layer.in, layer.out, int(layer.edge),
                  int(layer.edge));
    }
  }
}

}  // namespace pleat::testing
