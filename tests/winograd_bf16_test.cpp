// Winograd's convolution in bfloat16 against the naive evaluator in double.
#include "ops/conv/winograd/winograd_bf16.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/rng.hpp"
#include "tests/alloc_count.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/reference.hpp"
#include "tests/tile_kernels.hpp"

namespace pleat::testing {
namespace {

struct Case {
  Nhwc x;
  int out;
  Padding pad;

  Conv2d op() const { return {.out = out, .kernel = 3, .stride = 1, .pad = pad, .bias = true}; }
  Nhwc y() const { return reference_shape(op(), {x}); }
};

const Padding kSame = Padding::uniform(1);
const Case kSmall{{2, 5, 6, 16}, 32, kSame};
// All depths that are multiplied in their own way, edges that tiles do not fill, paddings that whole tiles lie in.
const std::vector<Case> kCases{
    kSmall,
    {{2, 7, 9, 32}, 16, kSame},
    {{1, 6, 10, 48}, 16, {}},
    {{1, 3, 3, 16}, 16, {}},
    {{1, 1, 1, 32}, 48, kSame},
    {{1, 8, 5, 64}, 80, {0, 1, 2, 0}},
    {{2, 5, 6, 16}, 48, Padding::uniform(3)},
    {{3, 2, 2, 176}, 112, kSame},
    {{3, 33, 31, 16}, 32, kSame},  // threads have blocks of their own, and several
    {{2, 21, 30, 64}, 16, {2, 0, 0, 3}},
};

template <class Draw>
std::vector<float> draw(int64_t size, const Draw& one) {
  std::vector<float> values(size);
  std::ranges::generate(values, one);
  return values;
}

struct Values {
  std::vector<Bf16> x, before;  // before: what the result is added to
  std::vector<float> weight, bias;

  // Values of `one` drawn for each; weights are `scale` times as large.
  template <class Draw>
  Values(const Case& c, float scale, const Draw& one) : weight(draw(c.out * c.x.c * 9, one)), bias(draw(c.out, one)) {
    for (float& w : weight) w *= scale;
    for (const float v : draw(c.x.size(), one)) x.emplace_back(v);
    for (const float v : draw(c.y().size(), one)) before.emplace_back(v);
  }

  std::vector<double> expected(const Case& c, bool adds, const Activation& act) const {
    const auto widen = [](const auto& values) { return std::vector<double>(values.begin(), values.end()); };
    std::vector<double> y =
        reference_forward(c.op(), {widen(x)}, {c.x}, {.weight = widen(weight), .bias = widen(bias)});
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (adds) y[i] += before[i];
      y[i] = act.alpha * y[i] + (1 - act.alpha) * std::clamp<double>(y[i], 0, act.limit);
    }
    return y;
  }
};

// What a call needs; of its workspace it must read nothing that it has not written.
struct Call {
  WinogradBf16 winograd;
  AlignedVector<Bf16> packed;
  AlignedVector<float> workspace;

  Call(const Case& c, const Values& v) : winograd(c.x, c.op()), packed(winograd.packed_size()) {
    workspace.assign(winograd.workspace_size(), std::numeric_limits<float>::quiet_NaN());
    winograd.pack(packed, v.weight);
  }
  std::vector<Bf16> operator()(const Values& v, bool adds, const Activation& act) {
    std::vector<Bf16> y = v.before;
    winograd(y, v.x, packed, {.bias = v.bias.data(), .adds = adds, .act = act}, workspace);
    return y;
  }
};

std::string describe(const Case& c) {
  return concat(to_string(c.x), " to ", c.out, ", pad ", c.pad.top, " ", c.pad.left, " ", c.pad.bottom, " ",
                c.pad.right, ", ", num_threads(), " threads");
}

}  // namespace

TEST_CASE("winograd in bfloat16: exact where all values between are small integers, on any number of threads") {
  if (lacks_tile_kernels<Bf16>()) return;
  const Threads restore;
  for (const Case& c : kCases)
    for (const int threads : {1, 2, 3}) {
      set_num_threads(threads);
      CAPTURE(describe(c));
      // Weights are multiples of 4, of which G g G^T makes integers up to 27, B^T d B up to 12.
      Rng rng(1);
      const Values v(c, 4, [&] { return static_cast<float>(rng.below(7)) - 3; });
      Call call(c, v);
      for (const bool adds : {false, true})
        for (const Activation act : {Activation{}, Activation{0}, Activation{0, 60}, Activation{0.5f, 60}}) {
          const std::vector<Bf16> got = call(v, adds, act);
          const std::vector<double> expected = v.expected(c, adds, act);
          const auto is_same = [](Bf16 a, double b) { return a == Bf16(static_cast<float>(b)); };
          CHECK(std::ranges::equal(got, expected, is_same));
        }
    }
}

TEST_CASE("winograd in bfloat16: transformed inputs and weights are rounded to the nearest") {
  if (lacks_tile_kernels<Bf16>()) return;
  for (const Case& c : kCases) {
    CAPTURE(describe(c));
    Rng rng(2);
    const Values v(c, 1, [&] { return static_cast<float>(rng.normal()); });
    const std::vector<Bf16> got = Call(c, v)(v, /*adds=*/false, {});
    const std::vector<double> expected = v.expected(c, /*adds=*/false, {});
    double error = 0, product = 0, square = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      error += std::pow(got[i] - expected[i], 2);
      product += got[i] * expected[i];
      square += expected[i] * expected[i];
    }
    // Rounding is off by up to 2^-8, of values of all sizes by 0.42 * 2^-8 at the root mean square. The result is
    // rounded so once. A product's two factors are, too, and the points that an output sums are larger than what is
    // left of them by a factor of 1.7: 1.1 * 2^-8 in all, more where borders are most of a picture. No error has a
    // preferred sign: cutting off instead would make results smaller by 0.7 * 2^-8.
    CHECK(std::sqrt(error / square) <= 1.5 / 256);
    CHECK(std::abs(product / square - 1) <= 0.2 / 256);
  }
}

TEST_CASE("winograd in bfloat16: a call allocates nothing") {
  if (lacks_tile_kernels<Bf16>()) return;
  const Values v(kSmall, 1, [] { return 1.0f; });
  Call call(kSmall, v);
  std::vector<Bf16> y = v.before;
  const auto run = [&] { call.winograd(y, v.x, call.packed, {}, call.workspace); };
  run();
  CHECK(count_allocations(run).own == 0);
}

TEST_CASE("winograd in bfloat16: refuses other convolutions and buffers of the wrong size") {
  if (lacks_tile_kernels<Bf16>()) return;
  const auto refuses = [](const std::string& message, const auto& call) {
    CHECK(error_of<std::invalid_argument>(call) == "conv2d (Winograd): " + message);
  };
  const auto make = [](int64_t in, const Conv2d& op) { WinogradBf16({2, 5, 5, in}, op); };
  const std::string expected = " channels, expected 3, 1, 1, multiples of 16 and a CPU with AVX512-BF16";
  refuses("kernel=3 stride=2 groups=1, 16 to 16" + expected, [&] { make(16, {.out = 16, .kernel = 3, .stride = 2}); });
  refuses("kernel=1 stride=1 groups=1, 16 to 16" + expected, [&] { make(16, {.out = 16, .kernel = 1}); });
  refuses("kernel=3 stride=1 groups=2, 32 to 32" + expected, [&] { make(32, {.out = 32, .kernel = 3, .groups = 2}); });
  refuses("kernel=3 stride=1 groups=1, 24 to 16" + expected, [&] { make(24, {.out = 16, .kernel = 3}); });
  refuses("kernel=3 stride=1 groups=1, 16 to 8" + expected, [&] { make(16, {.out = 8, .kernel = 3}); });

  const Values v(kSmall, 1, [] { return 1.0f; });
  Call call(kSmall, v);
  const WinogradBf16& winograd = call.winograd;
  std::vector<Bf16> y = v.before;
  const std::span<Bf16> to = y, packed = call.packed;
  const std::span<const Bf16> x = v.x;
  const std::span<float> workspace = call.workspace;
  refuses("weight has 9 elements, expected 4608", [&] { winograd.pack(packed, std::span(v.weight).first(9)); });
  refuses("packed has 9 elements, expected 8192", [&] { winograd.pack(packed.first(9), v.weight); });
  refuses("y has 9 elements, expected 1920", [&] { winograd(to.first(9), x, packed, {}, workspace); });
  refuses("x has 9 elements, expected 960", [&] { winograd(to, x.first(9), packed, {}, workspace); });
  refuses("packed has 9 elements, expected 8192", [&] { winograd(to, x, packed.first(9), {}, workspace); });
  refuses(concat("workspace has 9 elements, expected ", workspace.size()),
          [&] { winograd(to, x, packed, {}, workspace.first(9)); });
}

}  // namespace pleat::testing
