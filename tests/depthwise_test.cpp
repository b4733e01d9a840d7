// Depthwise convolution in bfloat16 against float, and, skipped unless asked for, all three passes of both against
// oneDNN: --test-case="bench: depthwise*" --no-skip. In float and double: tests/ops_test.cpp.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/conv/conv2d_onednn.hpp"
#include "ops/conv/depthwise_conv2d.hpp"
#include "ops/conv/window.hpp"
#include "tests/op_cases.hpp"

namespace pleat::testing {
namespace {

// All three passes on random values, those of activations representable in bfloat16.
template <class T>
struct Run {
  Run(const Nhwc& shape, const DepthwiseConv2d& op_)
      : x_shape(shape),
        op(op_),
        x(shape.size()),
        dx(shape.size()),
        y(slide(shape, shape.c, op.kernel, op.stride, op.pad).size()),
        dy(y.size()),
        weight(shape.c * op.kernel * op.kernel),
        dweight(weight.size(), 0),
        bias(op.bias ? shape.c : 0),
        dbias(bias.size(), 0),
        workspace(depthwise_conv2d_workspace(shape, op)) {
    Rng rng(1);
    const auto fill = [&](auto& values) {
      for (auto& v : values) v = Bf16(static_cast<float>(rng.normal()));
    };
    fill(x), fill(dy), fill(weight), fill(bias);
  }
  void forward() { depthwise_conv2d_forward<T>(y, x, weight, bias, x_shape, op, workspace); }
  void backward_data() { depthwise_conv2d_backward_data<T>(dx, dy, weight, x_shape, op, workspace); }
  void backward_weights() { depthwise_conv2d_backward_weights<T>(dweight, dbias, dy, x, x_shape, op, workspace); }

  Nhwc x_shape;
  DepthwiseConv2d op;
  AlignedVector<T> x, dx, y, dy;
  AlignedVector<float> weight, dweight, bias, dbias, workspace;
};

// Largest |got - expected| against `relative` * |expected| + `absolute`.
template <class T>
void check_close(const AlignedVector<T>& got, const AlignedVector<float>& expected, double relative, double absolute) {
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(float{got[i]}) - expected[i]);
    const double ratio = error / (relative * std::abs(expected[i]) + absolute);
    if (!(ratio <= worst)) worst = ratio;
  }
  CHECK(worst <= 1);
}

}  // namespace

TEST_CASE("bfloat16: depthwise convolution is the float one, rounded") {
  for (const OpCase& c : small_cases()) {
    const auto* op = std::get_if<DepthwiseConv2d>(&c.op);
    if (op == nullptr) continue;
    CAPTURE(describe(c));
    Run<float> wide(c.inputs[0], *op);
    Run<Bf16> narrow(c.inputs[0], *op);
    wide.forward(), wide.backward_data(), wide.backward_weights();
    narrow.forward(), narrow.backward_data(), narrow.backward_weights();
    // Sums near zero differ by the order they were added in.
    check_close(narrow.y, wide.y, 1.0 / 256, 1e-6);
    check_close(narrow.dx, wide.dx, 1.0 / 256, 1e-6);
    check_close(narrow.dweight, wide.dweight, 1e-5, 1e-5);
    check_close(narrow.dbias, wide.dbias, 1e-5, 1e-5);
  }
}

namespace {

struct Layer {
  int channels, side, stride, kernel;
};

// Prints a line for each pass: our GFLOP/s, oneDNN's, their ratio, our GB/s and those of a copy.
template <class T>
void bench(const Layer& layer, int64_t batch) {
  const Nhwc shape{batch, layer.side, layer.side, layer.channels};
  const DepthwiseConv2d op{layer.kernel, layer.stride, Padding::uniform(layer.kernel / 2), false};
  Run<T> own(shape, op);
  OnednnConv2d<T> onednn(shape, {layer.channels, op.kernel, op.stride, op.pad, layer.channels, false}, kAllPasses);
  onednn.begin_forward(own.weight);
  onednn.begin_backward(own.weight, own.dweight, {});
  const int64_t size = shape.size();
  const std::vector<std::function<void()>> work = {[&] { own.forward(); },
                                                   [&] { own.backward_data(); },
                                                   [&] { own.backward_weights(); },
                                                   [&] { onednn.forward(own.y, own.x, {}, {}); },
                                                   [&] { onednn.backward_data(own.dx, own.dy, {}); },
                                                   [&] { onednn.backward_weights(own.dy, own.x, {}); },
                                                   [&] {
                                                     parallel_for(size, [&](int64_t begin, int64_t end, int) {
                                                       std::copy_n(own.x.begin() + begin, end - begin,
                                                                   own.dx.begin() + begin);
                                                     });
                                                   }};
  std::vector<double> seconds(work.size(), 1e30);
  for (int round = 0; round < 10 + 400 / batch; ++round)
    for (std::size_t i = 0; i < work.size(); ++i) {
      work[i]();  // so that what was before is as warm for each
      const auto start = Clock::now();
      work[i]();
      seconds[i] = std::min(seconds[i], seconds_since(start));
    }
  const double flops = 2e-9 * op.kernel * op.kernel * static_cast<double>(own.y.size());
  const double bytes = 1e-9 * sizeof(T) * static_cast<double>(own.x.size() + own.y.size());
  const double copied = 2e-9 * sizeof(T) * static_cast<double>(size);
  const char* names[] = {"forward", "data", "weights"};
  for (int pass = 0; pass < 3; ++pass) {
    const double own_s = seconds[pass], onednn_s = seconds[3 + pass];
    std::printf("%7.1f %7.1f %7.2f %7.1f %7.1f  %s %-7s kernel=%d stride=%d on %s\n", flops / own_s, flops / onednn_s,
                onednn_s / own_s, bytes / own_s, copied / seconds[6], sizeof(T) == 2 ? "bf16" : "f32 ", names[pass],
                op.kernel, op.stride, to_string(shape).c_str());
  }
}

}  // namespace

TEST_CASE("bench: depthwise convolution, pass by pass" * doctest::skip()) {
  // MobileNetV2 on CIFAR-10, and a few layers of EfficientNet-lite.
  constexpr Layer kLayers[] = {{32, 32, 1, 3},  {96, 32, 1, 3},  {144, 32, 1, 3}, {144, 32, 2, 3}, {192, 16, 1, 3},
                               {192, 16, 2, 3}, {384, 8, 1, 3},  {576, 8, 1, 3},  {576, 8, 2, 3},  {960, 4, 1, 3},
                               {144, 32, 2, 5}, {240, 16, 1, 5}, {672, 8, 1, 5}};
  std::printf("%d threads, best of many\n%7s %7s %7s %7s %7s\n", num_threads(), "GFLOP/s", "oneDNN", "ratio", "GB/s",
              "copy");
  for (const int64_t batch : {128, 8})
    for (const Layer& layer : kLayers) {
      bench<float>(layer, batch);
      if (cpu_has_bf16()) bench<Bf16>(layer, batch);
    }
}

}  // namespace pleat::testing
