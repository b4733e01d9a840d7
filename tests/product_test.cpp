// Convolutions as products against the naive evaluator, the engine's in every cut and training's, f32 and bf16.
#include <stdexcept>

#include "core/rng.hpp"
#include "core/simd/instruction_set.hpp"
#include "fold/engine/product_conv.hpp"
#include "ops/conv/pointwise_conv2d.hpp"
#include "ops/conv/window.hpp"
#include "tests/alloc_count.hpp"
#include "tests/compare.hpp"
#include "tests/error_of.hpp"
#include "tests/reference.hpp"
#include "tests/tile_kernels.hpp"

using namespace pleat;

namespace {

template <class T>
AlignedVector<T> random(int64_t size, uint64_t seed) {
  Rng rng(seed);
  AlignedVector<T> values(size);
  for (T& v : values) v = T(static_cast<float>(rng.normal()));
  return values;
}

// The same values, as the naive evaluator takes them.
template <class T>
std::vector<double> wide(const AlignedVector<T>& values) {
  return {values.begin(), values.end()};
}

// Largest difference of any cut of this convolution; the weights are exact in T.
template <class T>
double worst_cut(const Nhwc& x, const Conv2d& op) {
  const Nhwc y = testing::reference_shape(op, {x});
  const ProductConv conv{x, y, op, {0, 20}};
  const auto input = random<T>(x.size(), 1);
  const auto weight = random<T>(y.c * x.c * op.kernel * op.kernel, 2);
  const auto bias = random<float>(y.c, 3);
  std::vector<double> expected =
      testing::reference_forward(op, {wide(input)}, {x}, {.weight = wide(weight), .bias = wide(bias)});
  for (double& v : expected) v = std::clamp(v, 0.0, 20.0);
  const ProductConvKernel<T> kernel(conv, AlignedVector<float>(weight.begin(), weight.end()), bias);
  std::vector<ProductCut> cuts = product_cuts(conv);
  cuts.insert(cuts.end(), {{1, 1}, {4, 2}, {16, 1}, {y.n * y.h * y.w, 3}});
  double worst = 0;
  for (const ProductCut& cut : cuts) {
    AlignedVector<T> out(y.size(), T(NAN)), scratch(kernel.scratch_size(cut), T(NAN));
    kernel(out, input, scratch, cut);
    worst = std::max(worst, testing::difference(wide(out), expected));
  }
  return worst;
}

}  // namespace

TEST_CASE("product: every cut of a convolution agrees with the naive evaluator") {
  if (testing::lacks_tile_kernels<float>()) return;
  const testing::Threads restore;
  const struct {
    Nhwc x;
    Conv2d op;
  } cases[] = {{{1, 4, 4, 30}, {48, 3, 1, Padding::uniform(1), 1, true}},
               {{1, 2, 2, 64}, {32, 3, 1, Padding::uniform(1), 1, true}},
               {{3, 7, 7, 10}, {112, 1, 1, {}, 1, true}},
               {{2, 9, 6, 4}, {24, 5, 2, {0, 1, 3, 4}, 1, true}},
               {{1, 5, 8, 4}, {88, 1, 2, {}, 1, true}},
               {{1, 3, 3, 2}, {16, 3, 1, Padding::uniform(4), 1, true}},
               {{2, 12, 16, 4}, {24, 3, 1, Padding::uniform(1), 1, true}},
               {{1, 30, 33, 4}, {40, 3, 2, {0, 0, 1, 1}, 1, true}},
               {{1, 10, 13, 8}, {56, 7, 1, {5, 0, 1, 3}, 1, true}}};
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    for (const auto& [x, op] : cases) {
      CAPTURE(to_string(x));
      CAPTURE(op.kernel);
      CHECK(worst_cut<float>(x, op) < 2e-6);                                    // sums of up to 400 products
      if (has_tile_kernels<Bf16>()) CHECK(worst_cut<Bf16>(x, op) < 1.0 / 256);  // the output's own bits
    }
  }
}

TEST_CASE("product: channels that the panels cannot hold are an error") {
  const ProductConv conv{{1, 4, 4, 3}, {1, 4, 4, 16}, {.out = 16}, {}};
  CHECK(error_of<std::invalid_argument>([&] { ProductConvKernel<float>(conv, std::vector<float>(48), {}); }) ==
        "convolution as a product: 3 to 16 channels; expected multiples of 2 and 16, or of 4 and 8 but not 8, and a "
        "CPU with AVX2");
}

namespace {

template <class T>
void check_pointwise(const Nhwc& x, int out, double tolerance) {
  CAPTURE(to_string(x));
  CAPTURE(out);
  const Nhwc y{x.n, x.h, x.w, out};
  const Conv2d op{out, 1}, turned{static_cast<int>(x.c), 1};
  const auto input = random<T>(x.size(), 1), dy = random<T>(y.size(), 2);
  const auto exact = random<T>(out * x.c, 3);
  const AlignedVector<float> weight(exact.begin(), exact.end());
  std::vector<double> transposed(weight.size());
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < x.c; ++i) transposed[i * out + o] = weight[o * x.c + i];

  const auto conv = make_conv_kernel<T>(
      x, op, {.passes = kAllPasses, .algorithms = {Algorithm::product, Algorithm::product, Algorithm::product}});
  const auto direct = make_conv_kernel<T>(x, op, {.passes = kAllPasses});
  AlignedVector<T> to(y.size(), T(NAN)), dx(x.size(), T(NAN));
  AlignedVector<float> dweight(weight.size()), expected(weight.size());
  const auto step = [&](ConvKernel<T>& kernel, std::span<float> gradient) {
    kernel.begin_forward(weight);
    kernel.forward(to, input, {}, {});
    kernel.begin_backward(weight, gradient, {});
    kernel.backward_weights(dy, input, {});
    kernel.backward_data(dx, dy, {});
    kernel.end_backward();
  };
  step(*direct, expected);
  step(*conv, dweight);
  CHECK(testing::difference(wide(to), testing::reference_forward(op, {wide(input)}, {x}, {.weight = wide(weight)})) <
        tolerance);
  CHECK(testing::difference(wide(dx), testing::reference_forward(turned, {wide(dy)}, {y}, {.weight = transposed})) <
        tolerance);
  CHECK(testing::difference(wide(dweight), wide(expected)) < 1e-5);  // both sums in float
  CHECK(testing::count_allocations([&] { step(*conv, dweight); }).own == 0);
}

}  // namespace

TEST_CASE("product: training's 1x1 convolutions agree with the naive evaluator both ways, and allocate nothing") {
  if (testing::lacks_tile_kernels<float>()) return;
  const testing::Threads restore;
  const struct {
    Nhwc x;
    int out;
  } cases[] = {{{3, 5, 7, 24}, 80}, {{2, 4, 4, 96}, 16}, {{1, 9, 9, 16}, 136}, {{2, 20, 20, 48}, 32}};
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    for (const auto& [x, out] : cases) {
      check_pointwise<float>(x, out, 1e-6);
      if (has_tile_kernels<Bf16>()) check_pointwise<Bf16>(x, out, 1.0 / 256);  // the output's own bits
    }
  }
}

namespace {

// Which hooks a kernel is expected to take over.
struct Taken {
  bool x = false, y = false, x_again = false, dy = false, dx = false;
};
constexpr Taken kAllHooks{true, true, true, true, true};

constexpr Piece kPiece{6, 2};

// Runs both passes with hooks that count the pixels they are called for: once each if the kernel took the hook over,
// never if it handed it back. y and dx must be final by then.
template <class Op>
void check_hooks(const Nhwc& x, const Nhwc& y, const Op& op, const ConvKernelOptions& options, const Taken& expected) {
  const auto conv = make_conv_kernel<float>(x, op, options);
  const AlignedVector<float> input = random<float>(x.size(), 1), dy = random<float>(y.size(), 2);
  const AlignedVector<float> weight(x.c * op.kernel * op.kernel * (std::is_same_v<Op, Conv2d> ? y.c : 1), 0.1f);
  AlignedVector<float> to(y.size(), NAN), dx(x.size(), NAN), dweight(weight.size());
  std::vector<int> before_x(x.pixels()), after_y(y.pixels()), before_again(x.pixels()), before_dy(y.pixels()),
      after_dx(x.pixels());
  AlignedVector<float> seen_y(y.size()), seen_dx(x.size());
  const auto count = [](std::vector<int>& calls) {
    return [&calls](const Piece& piece, int64_t begin, int64_t end, int thread) {
      for (int64_t p = begin; p < end; ++p) calls[p] += piece == kPiece && thread < num_threads() ? 1 : 1000;
    };
  };
  const auto keep = [](AlignedVector<float>& seen, const AlignedVector<float>& of, int64_t c, auto counted) {
    return [&seen, &of, c, counted](const Piece& piece, int64_t begin, int64_t end, int thread) {
      std::copy(of.begin() + begin * c, of.begin() + end * c, seen.begin() + begin * c);
      counted(piece, begin, end, thread);
    };
  };
  const ConvHooks left = conv->take_hooks({.x = count(before_x),
                                           .y = keep(seen_y, to, y.c, count(after_y)),
                                           .x_again = count(before_again),
                                           .dy = count(before_dy),
                                           .dx = keep(seen_dx, dx, x.c, count(after_dx))});
  CHECK(!left.x == expected.x);
  CHECK(!left.y == expected.y);
  CHECK(!left.x_again == expected.x_again);
  CHECK(!left.dy == expected.dy);
  CHECK(!left.dx == expected.dx);
  conv->begin_forward(weight);
  conv->forward(to, input, {}, kPiece);
  conv->begin_backward(weight, dweight, {});
  conv->backward(dx, dy, input, kPiece);
  conv->end_backward();
  CHECK(before_x == std::vector<int>(x.pixels(), expected.x));
  CHECK(after_y == std::vector<int>(y.pixels(), expected.y));
  CHECK(before_again == std::vector<int>(x.pixels(), expected.x_again));
  CHECK(before_dy == std::vector<int>(y.pixels(), expected.dy));
  CHECK(after_dx == std::vector<int>(x.pixels(), expected.dx));
  if (expected.y) CHECK(seen_y == to);
  if (expected.dx) CHECK(seen_dx == dx);
}

}  // namespace

TEST_CASE("product: hooks are called for every pixel once, of what is written when it is") {
  if (testing::lacks_tile_kernels<float>()) return;
  const testing::Threads restore;
  constexpr Algorithm d = Algorithm::direct, p = Algorithm::product;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    for (const Nhwc& x : {Nhwc{3, 5, 7, 32}, Nhwc{1, 2, 3, 32}, Nhwc{2, 20, 20, 32}}) {
      CAPTURE(to_string(x));
      const struct {
        ConvAlgorithms algorithms;
        Taken taken;
      } cases[] = {{{p, p, p}, kAllHooks},
                   {{p, d, d}, {.x = true, .y = true}},
                   {{d, p, p}, {.x_again = true, .dy = true, .dx = true}},
                   {{d, d, p}, {.x_again = true, .dy = true}},
                   {{d, p, d}, {.dx = true}},
                   {{d, d, d}, {}}};
      for (const auto& [algorithms, taken] : cases)
        check_hooks(x, {x.n, x.h, x.w, 48}, Conv2d{48, 1}, {.passes = kAllPasses, .algorithms = algorithms}, taken);
      for (const int kernel : {3, 5, 7})
        for (const int stride : {1, 2}) {
          const DepthwiseConv2d op{kernel, stride, Padding::uniform(kernel / 2)};
          check_hooks(x, slide(x, x.c, kernel, stride, op.pad), op, {.passes = kAllPasses}, kAllHooks);
        }
    }
  }
}

TEST_CASE("product: training's refuses other convolutions") {
  if (testing::lacks_tile_kernels<float>()) return;
  const auto refused = [](const Nhwc& x, const Conv2d& op) {
    return error_of<std::invalid_argument>([&] { PointwiseConv2d<float>(x, op, kAllPasses); });
  };
  CHECK(holds(refused({1, 4, 4, 16}, {24, 3}), "kernel 3, stride 1, 16 to 24 channels"));
  CHECK(holds(refused({1, 4, 4, 20}, {24, 1}), "kernel 1, stride 1, 20 to 24 channels"));
  CHECK(holds(refused({1, 4, 4, 24}, {40, 1}), "kernel 1, stride 1, 24 to 40 channels"));
  CHECK(refused({1, 4, 4, 16}, {24, 1}) == "no error");
}
