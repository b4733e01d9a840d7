#include "ops/border_conv2d.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/window.hpp"

namespace pleat {
namespace {

using Parts = std::array<BorderPart, 3>;  // before, all, after

Parts parts(int64_t inputs, int64_t outputs, int kernel, int stride, int pad, int64_t ring_before, int64_t ring_after,
            int64_t reach_before, int64_t reach_after) {
  return {{{0, ring_before, ring_before, 0, 0, reach_before},
           {0, outputs, 1, -pad, stride, kernel},
           {outputs - ring_after, ring_after, ring_after, inputs - reach_after, 0, reach_after}}};
}

int64_t class_of(int64_t p, int64_t positions, int64_t before, int64_t after) {
  const int64_t behind = p - (positions - after);
  if (p < before) return p;
  return behind < 0 ? before : before + (before + after < positions) + behind;
}

int64_t classes(int64_t positions, int64_t before, int64_t after) {
  return before + after + (before + after < positions);
}

// sum[o] += sum over k of x[k] * w[k][o], where rows of w are `ld` apart.
template <class T>
PLEAT_SIMD void add_products(compute_t<T>* __restrict sum, const T* x, const compute_t<T>* w, int64_t k, int64_t n,
                             int64_t ld) {
  for (int64_t i = 0; i < k; ++i, w += ld) {
    const compute_t<T> v = x[i];
    for (int64_t o = 0; o < n; ++o) sum[o] += v * w[o];
  }
}

// dx[k] += sum over o of w[k][o] * dy[o].
template <class T>
PLEAT_SIMD void add_transposed(T* dx, const compute_t<T>* w, const T* dy, int64_t k, int64_t n, int64_t ld) {
  for (int64_t i = 0; i < k; ++i, w += ld) {
    compute_t<T> sum = dx[i];
    for (int64_t o = 0; o < n; ++o) sum += w[o] * dy[o];
    dx[i] = T(sum);
  }
}

// dw[k][o] += x[k] * dy[o].
template <class T>
PLEAT_SIMD void add_outer(compute_t<T>* __restrict dw, const T* x, const T* dy, int64_t k, int64_t n, int64_t ld) {
  for (int64_t i = 0; i < k; ++i, dw += ld) {
    const compute_t<T> v = x[i];
    for (int64_t o = 0; o < n; ++o) dw[o] += v * compute_t<T>(dy[o]);
  }
}

// Calls run(tap, index in x, taps) for every piece of x that output pixel (n, r, c) sees through the ring.
template <class Run>
void for_each_run(const BorderGeometry& g, int groups, int64_t n, int64_t r, int64_t c, const Run& run) {
  for (const BorderPatch& patch : g.patches) {
    if (!patch.rows.holds(r) || !patch.columns.holds(c)) continue;
    const int64_t top = patch.rows.window(r), left = patch.columns.window(c), first = patch.tap(r, c);
    const Taps rows = taps_inside(top, static_cast<int>(patch.rows.taps), g.x.h);
    const Taps cols = taps_inside(left, static_cast<int>(patch.columns.taps), g.x.w);
    const int64_t step = groups == 1 ? std::max<int64_t>(cols.end - cols.begin, 1) : 1;  // that are one piece of x
    for (int64_t row = rows.begin; row < rows.end; ++row)
      for (int64_t col = cols.begin; col < cols.end; col += step)
        run(first + (row - top) * patch.columns.taps + col - left, ((n * g.x.h + row) * g.x.w + col) * g.x.c, step);
  }
}

template <class T>
void check(const BorderGeometry& g, const BorderConv2d& op, std::span<const T> x, std::span<const T> y,
           std::span<const compute_t<T>> weight, std::span<const compute_t<T>> bias) {
  const auto size = [](const char* what, std::size_t got, int64_t expected) {
    PLEAT_CHECK(static_cast<int64_t>(got) == expected, "border_conv2d: ", what, " has ", got, " elements, expected ",
                expected);
  };
  size("x", x.size(), g.x.size());
  size("y", y.size(), g.y.size());
  size("weight", weight.size(), g.taps * (g.x.c / op.groups) * op.out);
  if (!bias.empty()) size("bias", bias.size(), g.row_classes * g.column_classes * op.out);
}

}  // namespace

BorderGeometry::BorderGeometry(const Nhwc& x_shape, const BorderConv2d& op)
    : x(x_shape),
      y(slide(x, op.out, op.kernel, op.stride, op.pad)),
      ring(op.ring),
      taps(0),
      row_classes(classes(y.h, ring.top, ring.bottom)),
      column_classes(classes(y.w, ring.left, ring.right)),
      macs(0) {
  const Parts rows = parts(x.h, y.h, op.kernel, op.stride, op.pad.top, ring.top, ring.bottom, op.reach.top,
                           op.reach.bottom);
  const Parts columns = parts(x.w, y.w, op.kernel, op.stride, op.pad.left, ring.left, ring.right, op.reach.left,
                              op.reach.right);
  std::size_t patch = 0;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) {
      if (i == 1 && j == 1) continue;
      const int64_t window = rows[i].taps * columns[j].taps;
      patches[patch++] = {rows[i], columns[j], taps};
      taps += rows[i].sets * columns[j].sets * window;
      macs += rows[i].count * columns[j].count * window * (x.c / op.groups) * op.out;
    }
}

int64_t BorderGeometry::bias_class(int64_t r, int64_t c) const {
  return class_of(r, y.h, ring.top, ring.bottom) * column_classes + class_of(c, y.w, ring.left, ring.right);
}

bool BorderGeometry::in_ring(int64_t r, int64_t c) const {
  return r < ring.top || r >= y.h - ring.bottom || c < ring.left || c >= y.w - ring.right;
}

template <class T>
void border_conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const compute_t<T>> weight,
                           std::span<const compute_t<T>> bias, const Nhwc& x_shape, const BorderConv2d& op) {
  using C = compute_t<T>;
  const BorderGeometry g(x_shape, op);
  check<T>(g, op, x, y, weight, bias);
  const int64_t in = x_shape.c / op.groups, out = op.out / op.groups;
  // Pixels are dealt out in turn: most of the work is in the first and last rows.
  const int64_t threads = num_threads();
  parallel_for(threads, [&](int64_t begin, int64_t end, int) {
    constexpr int64_t kBlock = 64;  // outputs, summed in registers or the first-level cache
    std::array<C, kBlock> sum;
    for (int64_t thread = begin; thread < end; ++thread)
      for (int64_t pixel = thread; pixel < g.y.pixels(); pixel += threads) {
        const int64_t c = pixel % g.y.w, r = pixel / g.y.w % g.y.h, n = pixel / g.y.w / g.y.h;
        const C* b = bias.data() + g.bias_class(r, c) * op.out;
        T* to = y.data() + pixel * op.out;
        if (!g.in_ring(r, c) || g.taps == 0) {
          std::copy_n(b, op.out, to);
          continue;
        }
        for (int group = 0; group < op.groups; ++group)
          for (int64_t o = group * out, last = o + out; o < last; o += kBlock) {
            const int64_t outs = std::min(kBlock, last - o);
            std::copy_n(b + o, outs, sum.data());
            for_each_run(g, op.groups, n, r, c, [&](int64_t tap, int64_t from, int64_t length) {
              add_products<T>(sum.data(), x.data() + from + group * in, weight.data() + tap * in * op.out + o,
                              length * in, outs, op.out);
            });
            std::copy_n(sum.data(), outs, to + o);
          }
      }
  });
}

template <class T>
void border_conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const compute_t<T>> weight,
                                 const Nhwc& x_shape, const BorderConv2d& op) {
  const BorderGeometry g(x_shape, op);
  check<T>(g, op, dx, dy, weight, {});
  const int64_t in = x_shape.c / op.groups, out = op.out / op.groups;
  parallel_for(g.x.n, [&](int64_t begin, int64_t end, int) {  // pictures: windows overlap inside one
    std::fill_n(dx.data() + begin * g.x.h * g.x.w * g.x.c, (end - begin) * g.x.h * g.x.w * g.x.c, T{0});
    for (int64_t pixel = begin * g.y.h * g.y.w; pixel < end * g.y.h * g.y.w; ++pixel)
      for_each_run(g, op.groups, pixel / g.y.w / g.y.h, pixel / g.y.w % g.y.h, pixel % g.y.w,
                   [&](int64_t tap, int64_t to, int64_t length) {
                     for (int group = 0; group < op.groups; ++group)
                       add_transposed<T>(dx.data() + to + group * in, weight.data() + tap * in * op.out + group * out,
                                         dy.data() + pixel * op.out + group * out, length * in, out, op.out);
                   });
  });
}

template <class T>
void border_conv2d_backward_weights(std::span<compute_t<T>> dweight, std::span<compute_t<T>> dbias,
                                    std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                                    const BorderConv2d& op) {
  const BorderGeometry g(x_shape, op);
  check<T>(g, op, x, dy, dweight, dbias);
  const int64_t in = x_shape.c / op.groups, out = op.out / op.groups;
  parallel_for(op.out, [&](int64_t begin, int64_t end, int) {  // a thread has its outputs of every pixel
    for (int64_t pixel = 0; pixel < g.y.pixels(); ++pixel) {
      const int64_t c = pixel % g.y.w, r = pixel / g.y.w % g.y.h;
      const T* from = dy.data() + pixel * op.out;
      for (int64_t o = begin; o < end; ++o) dbias[g.bias_class(r, c) * op.out + o] += from[o];
      for_each_run(g, op.groups, pixel / g.y.w / g.y.h, r, c, [&](int64_t tap, int64_t at, int64_t length) {
        for (int64_t o = begin, last; o < end; o = last) {
          const int64_t group = o / out;
          last = std::min(end, (group + 1) * out);
          add_outer<T>(dweight.data() + tap * in * op.out + o, x.data() + at + group * in, from + o, length * in,
                       last - o, op.out);
        }
      });
    }
  });
}

#define PLEAT_INSTANTIATE(T)                                                                                    \
  template void border_conv2d_forward(std::span<T>, std::span<const T>, std::span<const compute_t<T>>,          \
                                      std::span<const compute_t<T>>, const Nhwc&, const BorderConv2d&);         \
  template void border_conv2d_backward_data(std::span<T>, std::span<const T>, std::span<const compute_t<T>>,    \
                                            const Nhwc&, const BorderConv2d&);                                  \
  template void border_conv2d_backward_weights<T>(std::span<compute_t<T>>, std::span<compute_t<T>>,             \
                                                  std::span<const T>, std::span<const T>, const Nhwc&,          \
                                                  const BorderConv2d&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
