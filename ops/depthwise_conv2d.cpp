#include "ops/depthwise_conv2d.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "ops/convolution.hpp"
#include "ops/window.hpp"

namespace pleat {
namespace {

struct Geometry {
  Geometry(const Nhwc& x_shape, const DepthwiseConv2d& op)
      : x(x_shape), y(slide(x, x.c, op.kernel, op.stride, op.pad)), op(op), taps(op.kernel * op.kernel) {}

  int64_t weights() const { return taps * x.c; }
  int64_t partial() const { return weights() + x.c; }  // one thread's dweight and dbias
  int64_t workspace() const { return num_threads() * partial(); }

  const Nhwc x, y;
  const DepthwiseConv2d op;
  const int64_t taps;
};

// out[c] += a[c] * b[c] at each of `count` pixels, the three moving on by their own step: the one loop of all three
// passes. A step of 0 stays, so that the weights are used again or their gradient is summed.
template <class T>
PLEAT_SIMD void multiply_add(T* __restrict out, int64_t out_step, const T* __restrict a, int64_t a_step,
                             const T* __restrict b, int64_t b_step, int64_t count, int64_t channels) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < channels; ++c) out[i * out_step + c] += a[i * a_step + c] * b[i * b_step + c];
}

// Weights as [kernel][kernel][C], the order in which they are used.
template <class T>
void pack_weights(T* packed, const T* weight, const Geometry& g) {
  for (int64_t tap = 0; tap < g.taps; ++tap)
    for (int64_t c = 0; c < g.x.c; ++c) packed[tap * g.x.c + c] = weight[c * g.taps + tap];
}

// Calls body(index in the weights, in y, in x, pixels) for the taps at which output row `oy` of a picture sees its row
// `iy`: that many neighbouring pixels of y see pixels of x, `stride` apart, through one tap's weights.
template <class Body>
void for_each_tap(const Geometry& g, int64_t picture, int64_t oy, int64_t iy, const Body& body) {
  const int64_t kh = iy + g.op.pad.top - oy * g.op.stride;
  for (int64_t kw = 0; kw < g.op.kernel; ++kw) {
    // Output pixel ox sees x at ox * stride + shift.
    const int64_t shift = kw - g.op.pad.left;
    const int64_t first = shift >= 0 ? 0 : (-shift + g.op.stride - 1) / g.op.stride;
    const int64_t last = shift >= g.x.w ? 0 : std::min(g.y.w, (g.x.w - shift - 1) / g.op.stride + 1);
    if (first < last)
      body((kh * g.op.kernel + kw) * g.x.c, ((picture * g.y.h + oy) * g.y.w + first) * g.x.c,
           ((picture * g.x.h + iy) * g.x.w + first * g.op.stride + shift) * g.x.c, last - first);
  }
}

template <class T>
void check(const Geometry& g, std::span<const T> x, std::span<const T> y, std::span<const T> weight,
           std::span<const T> bias, std::span<const T> workspace) {
  const auto size = [](std::span<const T> buffer) { return static_cast<int64_t>(buffer.size()); };
  check_sizes("depthwise_conv2d", {size(x), size(y), size(weight), size(bias), size(workspace)},
              {g.x.size(), g.y.size(), g.weights(), g.x.c, g.workspace()});
}

}  // namespace

int64_t depthwise_conv2d_workspace(const Nhwc& x_shape, const DepthwiseConv2d& op) {
  return Geometry(x_shape, op).workspace();
}

template <class T>
void depthwise_conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const T> weight, std::span<const T> bias,
                              const Nhwc& x_shape, const DepthwiseConv2d& op, std::span<T> workspace) {
  const Geometry g(x_shape, op);
  check<T>(g, x, y, weight, bias, workspace);
  T* packed = workspace.data();
  pack_weights(packed, weight.data(), g);
  const int64_t channels = g.x.c, x_step = op.stride * channels;
  parallel_for(g.x.n * g.y.h, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      T* to = y.data() + row * g.y.w * channels;
      if (bias.empty())
        std::fill_n(to, g.y.w * channels, T{0});
      else
        for (int64_t ox = 0; ox < g.y.w; ++ox) std::copy_n(bias.data(), channels, to + ox * channels);
      const int64_t picture = row / g.y.h, oy = row % g.y.h;
      const Taps rows = taps_inside(oy * op.stride - op.pad.top, op.kernel, g.x.h);
      for (int64_t iy = rows.begin; iy < rows.end; ++iy)
        for_each_tap(g, picture, oy, iy, [&](int64_t w, int64_t yi, int64_t xi, int64_t pixels) {
          multiply_add(y.data() + yi, channels, x.data() + xi, x_step, packed + w, 0, pixels, channels);
        });
    }
  });
}

template <class T>
void depthwise_conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const T> weight,
                                    const Nhwc& x_shape, const DepthwiseConv2d& op, std::span<T> workspace) {
  const Geometry g(x_shape, op);
  check<T>(g, dx, dy, weight, {}, workspace);
  T* packed = workspace.data();
  pack_weights(packed, weight.data(), g);
  const int64_t channels = g.x.c, x_step = op.stride * channels;
  parallel_for(g.x.n * g.x.h, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      std::fill_n(dx.data() + row * g.x.w * channels, g.x.w * channels, T{0});
      const int64_t picture = row / g.x.h, iy = row % g.x.h;
      for (int64_t kh = 0; kh < op.kernel; ++kh) {
        // The output row, if any, that sees this row through the kernel's row kh.
        const int64_t from = iy + op.pad.top - kh;
        if (from < 0 || from % op.stride != 0 || from / op.stride >= g.y.h) continue;
        for_each_tap(g, picture, from / op.stride, iy, [&](int64_t w, int64_t yi, int64_t xi, int64_t pixels) {
          multiply_add(dx.data() + xi, x_step, dy.data() + yi, channels, packed + w, 0, pixels, channels);
        });
      }
    }
  });
}

template <class T>
void depthwise_conv2d_backward_weights(std::span<T> dweight, std::span<T> dbias, std::span<const T> dy,
                                       std::span<const T> x, const Nhwc& x_shape, const DepthwiseConv2d& op,
                                       std::span<T> workspace) {
  const Geometry g(x_shape, op);
  check<T>(g, x, dy, dweight, dbias, workspace);
  const int threads = num_threads();
  T* partials = workspace.data();
  std::fill_n(partials, threads * g.partial(), T{0});
  const int64_t channels = g.x.c, x_step = op.stride * channels;
  parallel_for(g.x.n * g.y.h, [&](int64_t begin, int64_t end, int thread) {
    T* partial = partials + thread * g.partial();
    for (int64_t row = begin; row < end; ++row) {
      const int64_t picture = row / g.y.h, oy = row % g.y.h;
      const Taps rows = taps_inside(oy * op.stride - op.pad.top, op.kernel, g.x.h);
      for (int64_t iy = rows.begin; iy < rows.end; ++iy)
        for_each_tap(g, picture, oy, iy, [&](int64_t w, int64_t yi, int64_t xi, int64_t pixels) {
          multiply_add(partial + w, 0, x.data() + xi, x_step, dy.data() + yi, channels, pixels, channels);
        });
      if (!dbias.empty()) add_rows(partial + g.weights(), dy.data() + row * g.y.w * channels, g.y.w, channels);
    }
  });
  for (int t = 0; t < threads; ++t) {
    const T* partial = partials + t * g.partial();
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t tap = 0; tap < g.taps; ++tap) dweight[c * g.taps + tap] += partial[tap * channels + c];
    for (std::size_t c = 0; c < dbias.size(); ++c) dbias[c] += partial[g.weights() + c];
  }
}

#define PLEAT_INSTANTIATE(T)                                                                                          \
  template void depthwise_conv2d_forward(std::span<T>, std::span<const T>, std::span<const T>, std::span<const T>,    \
                                         const Nhwc&, const DepthwiseConv2d&, std::span<T>);                          \
  template void depthwise_conv2d_backward_data(std::span<T>, std::span<const T>, std::span<const T>, const Nhwc&,     \
                                               const DepthwiseConv2d&, std::span<T>);                                 \
  template void depthwise_conv2d_backward_weights(std::span<T>, std::span<T>, std::span<const T>, std::span<const T>, \
                                                  const Nhwc&, const DepthwiseConv2d&, std::span<T>);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
