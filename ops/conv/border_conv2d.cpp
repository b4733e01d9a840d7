#include "ops/conv/border_conv2d.hpp"

#include <algorithm>
#include <type_traits>

#include "core/parallel.hpp"
#include "core/simd/simd.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

using Parts = std::array<BorderPart, 3>;  // before, all, after

// What a side of the picture corrects: so many positions of the output, by inputs so far from the border.
struct Side {
  int64_t ring, reach;
};

Parts parts(const BorderConv2d& op, int64_t inputs, int64_t outputs, int pad, const Side& before, const Side& after) {
  return {{{0, before.ring, before.ring, 0, 0, before.reach},
           {0, outputs, 1, -pad, op.stride, op.kernel},
           {outputs - after.ring, after.ring, after.ring, inputs - after.reach, 0, after.reach}}};
}

int64_t class_of(int64_t p, int64_t positions, int64_t before, int64_t after) {
  const int64_t behind = p - (positions - after);
  if (p < before) return p;
  return behind < 0 ? before : before + (before + after < positions) + behind;
}

int64_t classes(int64_t positions, int64_t before, int64_t after) {
  return before + after + (before + after < positions);
}

constexpr int64_t kLanes = 16;  // outputs
constexpr int64_t kPixels = 4;  // that are summed at once, so that a weight read serves them all

// sum[p][o] += sum over k of x[p * x_step + k] * w[k][o] for kCount pixels p and kLanes outputs o; rows of w are `ld`
// apart.
template <class T, int64_t kCount>
PLEAT_INLINE inline void add_products(compute_t<T>* sum, const T* x, int64_t x_step, const compute_t<T>* w, int64_t k,
                                      int64_t ld) {
  using V = Vec<compute_t<T>, kLanes / 2>;
  V low[kCount], high[kCount], w_low, w_high;
  PLEAT_UNROLLED(p, kCount) load(low[p], sum + p * kLanes), load(high[p], sum + p * kLanes + kLanes / 2);
  for (int64_t i = 0; i < k; ++i, w += ld) {
    load(w_low, w);
    load(w_high, w + kLanes / 2);
    PLEAT_UNROLLED(p, kCount) {
      const compute_t<T> v = x[p * x_step + i];
      low[p] += v * w_low;
      high[p] += v * w_high;
    }
  }
  PLEAT_UNROLLED(p, kCount) store(sum + p * kLanes, low[p]), store(sum + p * kLanes + kLanes / 2, high[p]);
}

// The same for `count` pixels and `lanes` outputs.
template <class T>
void add_products(compute_t<T>* sum, const T* x, int64_t x_step, const compute_t<T>* w, int64_t k, int64_t ld,
                  int64_t count, int64_t lanes) {
  if (lanes == kLanes && count == kPixels)
    return dispatch([&](auto) PLEAT_INLINE { add_products<T, kPixels>(sum, x, x_step, w, k, ld); });
  for (int64_t p = 0; p < count; ++p, x += x_step, sum += kLanes)
    if (lanes == kLanes)
      dispatch([&](auto) PLEAT_INLINE { add_products<T, 1>(sum, x, x_step, w, k, ld); });
    else
      for (int64_t i = 0; i < k; ++i)
        for (int64_t lane = 0; lane < lanes; ++lane) sum[lane] += compute_t<T>(x[i]) * w[i * ld + lane];
}

template <class V>
PLEAT_INLINE inline auto sum_of(const V& v) {
  std::remove_cvref_t<decltype(v[0])> lane[kWidthOf<V>];
  store(lane, v);
  static_assert(kWidthOf<V> == 8);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// A pixel of kCount pictures, `step` apart.
template <class T>
struct Pictures {
  T* first;
  int64_t step;
  PLEAT_INLINE T* operator[](int64_t p) const { return first + p * step; }
};

// dx[p][k] += sum over o of w[k][o] * dy[p][o].
template <class Isa, int64_t kCount, class T>
PLEAT_INLINE inline void add_transposed(Pictures<T> dx, const compute_t<T>* w, Pictures<const T> dy, int64_t k,
                                        int64_t n, int64_t ld) {
  using V = Vec<compute_t<T>, kLanes / 2>;
  const int64_t whole = n / kWidthOf<V> * kWidthOf<V>;
  for (int64_t i = 0; i < k; ++i, w += ld) {
    V sum[kCount]{}, a, b;
    for (int64_t o = 0; o < whole; o += kWidthOf<V>) {
      load(a, w + o);
      PLEAT_UNROLLED(p, kCount) {
        load<Isa>(b, dy[p] + o);
        sum[p] += a * b;
      }
    }
    PLEAT_UNROLLED(p, kCount) {
      compute_t<T> total = compute_t<T>(dx[p][i]) + sum_of(sum[p]);
      for (int64_t o = whole; o < n; ++o) total += w[o] * compute_t<T>(dy[p][o]);
      dx[p][i] = T(total);
    }
  }
}

// dw[k][o] += sum over p of x[p][k] * dy[p][o].
template <class Isa, int64_t kCount, class T>
PLEAT_INLINE inline void add_outer(compute_t<T>* dw, Pictures<const T> x, Pictures<const T> dy, int64_t k, int64_t n,
                                   int64_t ld) {
  using V = Vec<compute_t<T>, kLanes / 2>;
  const int64_t whole = n / kWidthOf<V> * kWidthOf<V>;
  for (int64_t o = 0; o < whole; o += kWidthOf<V>) {
    V from[kCount], sum;
    PLEAT_UNROLLED(p, kCount) load<Isa>(from[p], dy[p] + o);
    for (int64_t i = 0; i < k; ++i) {
      load(sum, dw + i * ld + o);
      PLEAT_UNROLLED(p, kCount) sum += compute_t<T>(x[p][i]) * from[p];
      store(dw + i * ld + o, sum);
    }
  }
  for (int64_t i = 0; i < k; ++i)
    for (int64_t o = whole; o < n; ++o)
      for (int64_t p = 0; p < kCount; ++p) dw[i * ld + o] += compute_t<T>(x[p][i]) * compute_t<T>(dy[p][o]);
}

// sum[o] += x[o] for `count` pixels x, `ld` apart.
template <class T>
PLEAT_INLINE inline void add_pixels(compute_t<T>* __restrict sum, const T* x, int64_t count, int64_t n, int64_t ld) {
  for (; count > 0; --count, x += ld)
    for (int64_t o = 0; o < n; ++o) sum[o] += compute_t<T>(x[o]);
}

// Calls run(first picture, their number as a constant) for [begin, end): so that a weight read serves kPixels pictures.
template <class Run>
void for_pictures(int64_t begin, int64_t end, const Run& run) {
  for (; begin + kPixels <= end; begin += kPixels) run(begin, std::integral_constant<int64_t, kPixels>());
  for (; begin < end; ++begin) run(begin, std::integral_constant<int64_t, 1>());
}

// Up to kPixels neighbours of the ring, in a row or in a column.
struct Segment {
  int64_t n, r, c, size;
  bool in_row;
  Segment one(int64_t p) const { return {n, r + (in_row ? 0 : p), c + (in_row ? p : 0), 1, in_row}; }
};

// The ring, cut: its rows whole, and of its columns what lies between.
struct Segments {
  explicit Segments(const BorderGeometry& g)
      : rows(g.ring.top + g.ring.bottom),
        between(g.y.h - rows),
        a_row((g.y.w + kPixels - 1) / kPixels),
        a_column((between + kPixels - 1) / kPixels),
        count(rows * a_row + (g.ring.left + g.ring.right) * a_column) {}

  Segment at(const BorderGeometry& g, int64_t i) const {
    const int64_t n = i / count;
    i %= count;
    if (i < rows * a_row) {
      const int64_t row = i / a_row, c = i % a_row * kPixels;
      return {n, row < g.ring.top ? row : row + between, c, std::min(kPixels, g.y.w - c), true};
    }
    i -= rows * a_row;
    const int64_t column = i / a_column, r = i % a_column * kPixels;
    const int64_t c = column < g.ring.left ? column : g.y.w - g.ring.left - g.ring.right + column;
    return {n, g.ring.top + r, c, std::min(kPixels, between - r), false};
  }

  int64_t rows, between, a_row, a_column, count;
};

// Which of `size` inputs, at `first` and `step` apart, lie in [0, extent).
Taps inside(int64_t first, int64_t step, int64_t size, int64_t extent) {
  if (step == 0) return {0, first >= 0 && first < extent ? size : 0};
  return {first < 0 ? (step - 1 - first) / step : 0,
          first < extent ? std::min(size, (extent - 1 - first) / step + 1) : 0};
}

// Calls run(tap, the neighbours for which it lies inside the picture, index in x for neighbour 0, distance in x from
// one to the next) for the taps of a patch that holds a segment; of more than one pixel along what slides.
template <class Run>
void for_each_tap(const BorderGeometry& g, const BorderPatch& patch, const Segment& segment, const Run& run) {
  const int64_t top = patch.rows.window(segment.r), left = patch.columns.window(segment.c);
  const int64_t first = patch.tap(segment.r, segment.c), along = segment.in_row ? patch.columns.step : patch.rows.step;
  for (int64_t u = 0; u < patch.rows.taps; ++u)
    for (int64_t v = 0; v < patch.columns.taps; ++v) {
      const int64_t row = top + u, column = left + v;
      const Taps in_picture =
          segment.in_row ? inside(column, along, segment.size, g.x.w) : inside(row, along, segment.size, g.x.h);
      if (segment.in_row ? row < 0 || row >= g.x.h : column < 0 || column >= g.x.w) continue;
      if (in_picture.begin < in_picture.end)
        run(first + u * patch.columns.taps + v, in_picture, ((segment.n * g.x.h + row) * g.x.w + column) * g.x.c,
            along * (segment.in_row ? 1 : g.x.w) * g.x.c);
    }
}

// The same for all patches that hold an output pixel of the first picture: run(tap, index in x).
template <class Run>
void for_each_tap(const BorderGeometry& g, int64_t pixel, const Run& run) {
  const Segment one{0, pixel / g.y.w, pixel % g.y.w, 1, true};
  for (const BorderPatch& patch : g.patches)
    if (patch.rows.holds(one.r) && patch.columns.holds(one.c))
      for_each_tap(g, patch, one, [&](int64_t tap, Taps, int64_t at, int64_t) { run(tap, at); });
}

constexpr const char* kName = "border_conv2d";

void check_sizes(const BorderGeometry& g, const BorderConv2d& op, std::size_t x, std::size_t y, std::size_t weight) {
  check_size(kName, "x", x, g.x.size());
  check_size(kName, "y", y, g.y.size());
  check_size(kName, "weight", weight, g.taps * (g.x.c / op.groups) * op.out);
}

}  // namespace

BorderGeometry::BorderGeometry(const Nhwc& x_shape, const BorderConv2d& op)
    : x(x_shape),
      y(slide(x, op.out, op.kernel, op.stride, op.pad)),
      ring(op.ring),
      taps(0),
      row_classes(classes(y.h, ring.top, ring.bottom)),
      column_classes(classes(y.w, ring.left, ring.right)) {
  const Parts rows = parts(op, x.h, y.h, op.pad.top, {ring.top, op.reach.top}, {ring.bottom, op.reach.bottom});
  const Parts columns = parts(op, x.w, y.w, op.pad.left, {ring.left, op.reach.left}, {ring.right, op.reach.right});
  std::size_t patch = 0;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) {
      if (i == 1 && j == 1) continue;
      patches[patch++] = {rows[i], columns[j], taps};
      taps += rows[i].sets * columns[j].sets * rows[i].taps * columns[j].taps;
    }
}

int64_t BorderGeometry::macs(const BorderConv2d& op) const {
  int64_t products = 0;
  for (const BorderPatch& p : patches) products += p.rows.count * p.columns.count * p.rows.taps * p.columns.taps;
  return products * (x.c / op.groups) * op.out;
}

int64_t BorderGeometry::bias_class(int64_t r, int64_t c) const {
  return class_of(r, y.h, ring.top, ring.bottom) * column_classes + class_of(c, y.w, ring.left, ring.right);
}

template <class T>
void border_conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const compute_t<T>> weight,
                           std::span<const compute_t<T>> bias, const Nhwc& x_shape, const BorderConv2d& op) {
  using C = compute_t<T>;
  const BorderGeometry g(x_shape, op);
  check_sizes(g, op, x.size(), y.size(), weight.size());
  check_size(kName, "bias", bias.size(), g.row_classes * g.column_classes * op.out);
  parallel_for(g.y.n * g.y.h, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t c = 0; c < g.y.w; ++c)
        std::copy_n(bias.data() + g.bias_class(row % g.y.h, c) * op.out, op.out, y.data() + (row * g.y.w + c) * op.out);
  });
  if (g.taps == 0) return;
  const int64_t in = x_shape.c / op.groups, out = op.out / op.groups;
  const auto add = [&](const BorderPatch& patch, const Segment& segment, int64_t o, int64_t lanes) {
    std::array<C, kPixels * kLanes> sum{};
    for_each_tap(g, patch, segment, [&](int64_t tap, Taps of, int64_t from, int64_t step) {
      add_products<T>(&sum[of.begin * kLanes], x.data() + from + of.begin * step + o / out * in, step,
                      weight.data() + tap * in * op.out + o, in, op.out, of.end - of.begin, lanes);
    });
    for (int64_t p = 0; p < segment.size; ++p) {
      const Segment at = segment.one(p);
      T* to = y.data() + ((at.n * g.y.h + at.r) * g.y.w + at.c) * op.out + o;
      for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = T(to[lane] + sum[p * kLanes + lane]);
    }
  };
  const Segments segments(g);
  parallel_for(segments.count * g.y.n, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = 0, lanes; o < op.out; o += lanes) {
      lanes = std::min(kLanes, out - o % out);
      for (int64_t i = begin; i < end; ++i) {
        const Segment segment = segments.at(g, i);
        for (const BorderPatch& patch : g.patches) {
          const bool slides = (segment.in_row ? patch.columns : patch.rows).step > 0;
          if (!(segment.in_row ? patch.rows.holds(segment.r) : patch.columns.holds(segment.c))) continue;
          if (slides) {
            add(patch, segment, o, lanes);
            continue;
          }
          for (int64_t p = 0; p < segment.size; ++p)
            if (const Segment one = segment.one(p); patch.rows.holds(one.r) && patch.columns.holds(one.c))
              add(patch, one, o, lanes);
        }
      }
    }
  });
}

template <class T>
void border_conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const compute_t<T>> weight,
                                 const Nhwc& x_shape, const BorderConv2d& op) {
  const BorderGeometry g(x_shape, op);
  check_sizes(g, op, dx.size(), dy.size(), weight.size());
  const int64_t in = x_shape.c / op.groups, out = op.out / op.groups;
  const int64_t x_picture = g.x.h * g.x.w * g.x.c, pixels = g.y.h * g.y.w;
  parallel_for(g.x.n, [&](int64_t begin, int64_t end, int) {  // pictures: windows overlap inside one
    std::fill_n(dx.data() + begin * x_picture, (end - begin) * x_picture, T{0});
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      for_each_tap(g, pixel, [&](int64_t tap, int64_t to) {
        for_pictures(begin, end, [&](int64_t n, auto count) {
          for (int64_t group = 0; group < op.groups; ++group)
            dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
              add_transposed<Isa, decltype(count)::value, T>(
                  {dx.data() + n * x_picture + to + group * in, x_picture},
                  weight.data() + tap * in * op.out + group * out,
                  {dy.data() + (n * pixels + pixel) * op.out + group * out, pixels * op.out}, in, out, op.out);
            });
        });
      });
  });
}

template <class T>
void border_conv2d_backward_weights(std::span<compute_t<T>> dweight, std::span<compute_t<T>> dbias,
                                    std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                                    const BorderConv2d& op) {
  const BorderGeometry g(x_shape, op);
  check_sizes(g, op, x.size(), dy.size(), dweight.size());
  check_size(kName, "bias", dbias.size(), g.row_classes * g.column_classes * op.out);
  const int64_t in = x_shape.c / op.groups, out = op.out / op.groups;
  const int64_t x_picture = g.x.h * g.x.w * g.x.c, pixels = g.y.h * g.y.w;
  parallel_for(op.out, [&](int64_t begin, int64_t end, int) {  // a thread has its outputs of every pixel
    for (int64_t row = 0; row < g.y.n * g.y.h; ++row)
      for (int64_t c = 0, run; c < g.y.w; c += run) {
        run = c >= g.ring.left && c < g.y.w - g.ring.right ? g.y.w - g.ring.right - c : 1;  // of one class
        compute_t<T>* const sum = dbias.data() + g.bias_class(row % g.y.h, c) * op.out + begin;
        const T* const from = dy.data() + (row * g.y.w + c) * op.out + begin;
        dispatch([&](auto) PLEAT_INLINE { add_pixels<T>(sum, from, run, end - begin, op.out); });
      }
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      for_each_tap(g, pixel, [&](int64_t tap, int64_t at) {
        for (int64_t o = begin, last; o < end; o = last) {
          const int64_t group = o / out;
          last = std::min(end, (group + 1) * out);
          for_pictures(0, g.y.n, [&](int64_t n, auto count) {
            dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
              add_outer<Isa, decltype(count)::value, T>(
                  dweight.data() + tap * in * op.out + o, {x.data() + n * x_picture + at + group * in, x_picture},
                  {dy.data() + (n * pixels + pixel) * op.out + o, pixels * op.out}, in, last - o, op.out);
            });
          });
        }
      });
  });
}

#define PLEAT_INSTANTIATE(T)                                                                                 \
  template void border_conv2d_forward(std::span<T>, std::span<const T>, std::span<const compute_t<T>>,       \
                                      std::span<const compute_t<T>>, const Nhwc&, const BorderConv2d&);      \
  template void border_conv2d_backward_data(std::span<T>, std::span<const T>, std::span<const compute_t<T>>, \
                                            const Nhwc&, const BorderConv2d&);                               \
  template void border_conv2d_backward_weights<T>(std::span<compute_t<T>>, std::span<compute_t<T>>,          \
                                                  std::span<const T>, std::span<const T>, const Nhwc&,       \
                                                  const BorderConv2d&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
