// Layout: activations NHWC. What output pixels see is copied to a matrix of columns, [pixels][kh][kw][channel]
// (im2col), and multiplied with the weights, repacked to [out][kh][kw][channel].
//
// Loops: tiles of output pixels, which threads share, small enough for their columns to stay in the second-level cache;
// groups; the product.
#include "ops/conv/conv2d.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/gemm/gemm.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

constexpr int64_t kTileElements = 64 * 1024;  // A tile of columns stays in the second-level cache.
constexpr int64_t kTilePixels = 16;           // Fewer rows than this starve the matrix product.

// The sizes of one convolution. "Columns" are the [pixels, k] matrix whose row holds all that one output pixel sees in
// one group, ordered (kh, kw, channel) so that neighbouring pixels of x are copied in one piece.
struct Geometry {
  Geometry(const Nhwc& x_shape, const Conv2d& op)
      : x(x_shape),
        y(slide(x, op.out, op.kernel, op.stride, op.pad)),
        op(op),
        in(x.c / op.groups),
        out(op.out / op.groups),
        k(op.kernel * op.kernel * in),
        tile(std::clamp(kTileElements / k, kTilePixels, std::max(kTilePixels, y.pixels()))),
        is_product(sees_own_pixel(op)) {}

  int64_t weights() const { return op.out * k; }
  int64_t partial() const { return weights() + op.out; }  // one thread's dweight and dbias
  int64_t workspace() const { return num_threads() * (partial() + tile * k); }

  const Nhwc x, y;
  const Conv2d op;
  const int64_t in, out;  // channels of one group
  const int64_t k, tile;
  const bool is_product;  // x itself is the matrix of columns
};

// Workspace: the weights as [out][kh][kw][in] or, in the same place, each thread's partial gradients; then each
// thread's tile of columns.
template <class T>
T* columns_of(std::span<T> workspace, const Geometry& g, int thread) {
  return workspace.data() + num_threads() * g.partial() + thread * g.tile * g.k;
}

template <class T>
void pack_weights(T* packed, const T* weight, const Geometry& g) {
  const int64_t taps = g.op.kernel * g.op.kernel;
  parallel_for(g.op.out, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t i = 0; i < g.in; ++i) packed[o * g.k + tap * g.in + i] = weight[o * g.k + i * taps + tap];
  });
}

// Calls run(index in columns, index in x, length) for every piece of x that the output pixels [begin, end) see.
template <class Run>
void for_each_run(const Geometry& g, int group, int64_t begin, int64_t end, const Run& run) {
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const int64_t picture = pixel / (g.y.h * g.y.w);
    const int64_t top = pixel / g.y.w % g.y.h * g.op.stride - g.op.pad.top;
    const int64_t left = pixel % g.y.w * g.op.stride - g.op.pad.left;
    const Taps rows = taps_inside(top, g.op.kernel, g.x.h), cols = taps_inside(left, g.op.kernel, g.x.w);
    const int64_t step = g.op.groups == 1 ? cols.end - cols.begin : 1;  // taps of a row that are one piece of x
    for (int64_t row = rows.begin; row < rows.end; ++row)
      for (int64_t col = cols.begin; col < cols.end; col += step)
        run((pixel - begin) * g.k + ((row - top) * g.op.kernel + col - left) * g.in,
            ((picture * g.x.h + row) * g.x.w + col) * g.x.c + group * g.in, step * g.in);
  }
}

// The columns of the output pixels [begin, end), built in `buffer` unless x holds them already.
template <class T>
Factor<T> columns(T* buffer, const T* x, const Geometry& g, int group, int64_t begin, int64_t end) {
  if (g.is_product) return {x + begin * g.x.c + group * g.in, g.x.c};
  if (g.op.pad != Padding{}) std::fill_n(buffer, (end - begin) * g.k, T{0});
  for_each_run(g, group, begin, end,
               [&](int64_t to, int64_t from, int64_t length) { std::copy_n(x + from, length, buffer + to); });
  return {buffer, g.k};
}

// Runs body(begin, end, thread) for every tile of the output pixels, in parallel.
template <class Body>
void for_each_tile(const Geometry& g, const Body& body) {
  const int64_t tiles = (g.y.pixels() + g.tile - 1) / g.tile;
  parallel_for(tiles, [&](int64_t first, int64_t last, int thread) {
    for (int64_t t = first; t < last; ++t) body(t * g.tile, std::min((t + 1) * g.tile, g.y.pixels()), thread);
  });
}

template <class T>
void check(const Geometry& g, std::span<const T> x, std::span<const T> y, std::span<const T> weight,
           std::span<const T> bias, std::span<const T> workspace) {
  const auto size = [](std::span<const T> buffer) { return static_cast<int64_t>(buffer.size()); };
  check_sizes("conv2d", {size(x), size(y), size(weight), size(bias), size(workspace)},
              {g.x.size(), g.y.size(), g.weights(), g.op.out, g.workspace()});
}

}  // namespace

int64_t conv2d_workspace(const Nhwc& x_shape, const Conv2d& op) {
  return Geometry(x_shape, op).workspace();
}

template <class T>
void conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const T> weight, std::span<const T> bias,
                    const Nhwc& x_shape, const Conv2d& op, std::span<T> workspace) {
  const Geometry g(x_shape, op);
  check<T>(g, x, y, weight, bias, workspace);
  T* packed = workspace.data();
  pack_weights(packed, weight.data(), g);
  for_each_tile(g, [&](int64_t begin, int64_t end, int thread) {
    if (!bias.empty())
      for (int64_t pixel = begin; pixel < end; ++pixel) std::copy_n(bias.data(), op.out, y.data() + pixel * op.out);
    for (int group = 0; group < op.groups; ++group) {
      const Factor<T> cols = columns(columns_of(workspace, g, thread), x.data(), g, group, begin, end);
      gemm(y.data() + begin * op.out + group * g.out, op.out, cols, {packed + group * g.out * g.k, g.k, Transpose::yes},
           end - begin, g.out, g.k, T(bias.empty() ? 0 : 1));
    }
  });
}

template <class T>
void conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const T> weight, const Nhwc& x_shape,
                          const Conv2d& op, std::span<T> workspace) {
  const Geometry g(x_shape, op);
  check<T>(g, dx, dy, weight, {}, workspace);
  T* packed = workspace.data();
  pack_weights(packed, weight.data(), g);
  // Gradients of the columns of the output pixels [begin, end).
  const auto column_gradients = [&](T* to, int64_t ld, int group, int64_t begin, int64_t end) {
    gemm(to, ld, {dy.data() + begin * op.out + group * g.out, op.out}, {packed + group * g.out * g.k, g.k}, end - begin,
         g.k, g.out, T{0});
  };
  if (g.is_product) {
    for_each_tile(g, [&](int64_t begin, int64_t end, int) {
      for (int group = 0; group < op.groups; ++group)
        column_gradients(dx.data() + begin * g.x.c + group * g.in, g.x.c, group, begin, end);
    });
    return;
  }
  // Columns overlap in x, so a picture belongs to one thread.
  parallel_for(g.x.n, [&](int64_t first, int64_t last, int thread) {
    const int64_t picture = g.x.h * g.x.w * g.x.c, pixels = g.y.h * g.y.w;
    std::fill_n(dx.data() + first * picture, (last - first) * picture, T{0});
    T* dcols = columns_of(workspace, g, thread);
    for (int64_t begin = first * pixels; begin < last * pixels; begin += g.tile) {
      const int64_t end = std::min(begin + g.tile, last * pixels);
      for (int group = 0; group < op.groups; ++group) {
        column_gradients(dcols, g.k, group, begin, end);
        for_each_run(g, group, begin, end, [&](int64_t from, int64_t to, int64_t length) {
          add_rows(dx.data() + to, dcols + from, 1, length);
        });
      }
    }
  });
}

template <class T>
void conv2d_backward_weights(std::span<T> dweight, std::span<T> dbias, std::span<const T> dy, std::span<const T> x,
                             const Nhwc& x_shape, const Conv2d& op, std::span<T> workspace) {
  const Geometry g(x_shape, op);
  check<T>(g, x, dy, dweight, dbias, workspace);
  const int threads = num_threads();
  T* partials = workspace.data();
  std::fill_n(partials, threads * g.partial(), T{0});
  for_each_tile(g, [&](int64_t begin, int64_t end, int thread) {
    T* partial = partials + thread * g.partial();
    for (int group = 0; group < op.groups; ++group) {
      const Factor<T> cols = columns(columns_of(workspace, g, thread), x.data(), g, group, begin, end);
      gemm(partial + group * g.out * g.k, g.k, {dy.data() + begin * op.out + group * g.out, op.out, Transpose::yes},
           cols, g.out, g.k, end - begin, T{1});
    }
    if (!dbias.empty()) add_rows(partial + g.weights(), dy.data() + begin * op.out, end - begin, op.out);
  });
  const int64_t taps = op.kernel * op.kernel;
  parallel_for(op.out, [&](int64_t first, int64_t last, int) {
    for (int64_t o = first; o < last; ++o)
      for (int t = 0; t < threads; ++t) {
        const T* partial = partials + t * g.partial();
        for (int64_t i = 0; i < g.in; ++i)
          for (int64_t tap = 0; tap < taps; ++tap)
            dweight[o * g.k + i * taps + tap] += partial[o * g.k + tap * g.in + i];
        if (!dbias.empty()) dbias[o] += partial[g.weights() + o];
      }
  });
}

#define PLEAT_INSTANTIATE(T)                                                                                           \
  template void conv2d_forward(std::span<T>, std::span<const T>, std::span<const T>, std::span<const T>, const Nhwc&,  \
                               const Conv2d&, std::span<T>);                                                           \
  template void conv2d_backward_data(std::span<T>, std::span<const T>, std::span<const T>, const Nhwc&, const Conv2d&, \
                                     std::span<T>);                                                                    \
  template void conv2d_backward_weights(std::span<T>, std::span<T>, std::span<const T>, std::span<const T>,            \
                                        const Nhwc&, const Conv2d&, std::span<T>);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
