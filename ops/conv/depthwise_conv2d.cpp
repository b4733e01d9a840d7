// Forward and backward to the input are the same correlation, with other sizes (Correlation in depthwise_tiles.hpp). It
// is computed by unrolled code in tiles where that exists, and pixel by pixel elsewhere.
//
// Layout: activations NHWC; parameters are packed once a call to [tap][channel], channels in the order in which
// registers hold them.
//
// Loops: rows of tiles, which threads share; tiles of the row; vectors of channels; taps. With hooks a thread takes
// whole pictures, so that it can call them for lines of its own as it goes.
#include "ops/conv/depthwise_conv2d.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd/simd.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/depthwise_tiles.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

using depthwise::Correlation;
using depthwise::Slots;
using depthwise::Workspace;

Correlation forward_of(const Nhwc& x, const DepthwiseConv2d& op) {
  return {x, slide(x, x.c, op.kernel, op.stride, op.pad), op.kernel, op.stride, 1, op.pad.top, op.pad.left};
}
Correlation backward_of(const Nhwc& x, const DepthwiseConv2d& op) {
  const int last = op.kernel - 1;
  return {forward_of(x, op).out, x, op.kernel, 1, op.stride, last - op.pad.top, last - op.pad.left};
}

// --- what is not unrolled: a pixel and a tap at a time, all channels ---

template <class A, class B>
PLEAT_INLINE inline void multiply_add_part(compute_t<B>* __restrict sum, const A* __restrict a, const B* __restrict b,
                                           int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<compute_t<A>>(a[i]) * static_cast<compute_t<B>>(b[i]);
}
template <class A, class B>
void multiply_add(compute_t<B>* sum, const A* a, const B* b, int64_t n) {
  dispatch([&](auto) PLEAT_INLINE { multiply_add_part(sum, a, b, n); });
}

// Calls body(tap, input pixel) for those that the output pixel sees.
template <class Body>
void for_taps(const Correlation& g, int64_t pixel, const Body& body) {
  const int64_t ox = pixel % g.out.w, oy = pixel / g.out.w % g.out.h, picture = pixel / g.out.w / g.out.h;
  for (int64_t kh = 0; kh < g.kernel; ++kh) {
    const int64_t u = oy * g.stride + kh - g.top;
    if (u < 0 || u % g.up != 0 || u / g.up >= g.in.h) continue;
    for (int64_t kw = 0; kw < g.kernel; ++kw) {
      const int64_t v = ox * g.stride + kw - g.left;
      if (v < 0 || v % g.up != 0 || v / g.up >= g.in.w) continue;
      body(kh * g.kernel + kw, (picture * g.in.h + u / g.up) * g.in.w + v / g.up);
    }
  }
}

template <class T>
void correlate_pixels(T* out, const T* in, const Correlation& g, const Workspace<compute_t<T>>& workspace, int thread,
                      int64_t begin, int64_t end) {
  const int64_t channels = g.in.c;
  compute_t<T>* sum = workspace.thread(thread);
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    std::copy_n(workspace.bias, channels, sum);
    for_taps(g, pixel, [&](int64_t tap, int64_t seen) {
      multiply_add(sum, workspace.weight + tap * channels, in + seen * channels, channels);
    });
    std::copy_n(sum, channels, out + pixel * channels);
  }
}

template <class T>
void weights_pixels(const T* dy, const T* x, const Correlation& g, const Workspace<compute_t<T>>& workspace, int thread,
                    int64_t begin, int64_t end) {
  const int64_t channels = g.in.c;
  for (int64_t pixel = begin; pixel < end; ++pixel)
    for_taps(g, pixel, [&](int64_t tap, int64_t seen) {
      multiply_add(workspace.thread(thread) + tap * channels, dy + pixel * channels, x + seen * channels, channels);
    });
}

// --- the one or the other ---

// `count` units of work, to be cut among threads: pixels, or rows of tiles.
template <class T>
struct Code {
  int64_t count;
  bool in_tiles;
  Slots slots;
  void (*correlate)(T*, const T*, const Correlation&, const Workspace<compute_t<T>>&, int, int64_t, int64_t);
  void (*weights)(const T*, const T*, const Correlation&, const Workspace<compute_t<T>>&, int, int64_t, int64_t);

  int64_t rows(const Nhwc& out) const { return count / out.n; }  // of tiles in a picture
  int64_t first_pixel(int64_t unit, const Nhwc& out) const {
    if (!in_tiles) return unit;
    return (unit / rows(out) * out.h + unit % rows(out) * depthwise::kRows) * out.w;
  }
};

template <class T, int kKernel>
Code<T> tiles(const Correlation& g, const Slots& slots, int64_t phase) {
  using namespace depthwise;
  Code<T> code{tile_rows(g), true, slots, correlate_tiles<T, kKernel, 1, 1, 0>, weights_tiles<T, kKernel, 1>};
  if (g.stride == 2) {
    code.correlate = correlate_tiles<T, kKernel, 2, 1, 0>;
    code.weights = weights_tiles<T, kKernel, 2>;
  }
  if (g.up == 2)
    code.correlate = phase == 0 ? correlate_tiles<T, kKernel, 1, 2, 0> : correlate_tiles<T, kKernel, 1, 2, 1>;
  return code;
}

template <class T>
Code<T> code_for(const Correlation& g) {
  struct Shape {
    int64_t count, parts;
  };
  const Shape registers = visit_instruction_set<T>([]<class Isa>(Isa) {
    return Shape{Registers<T, Isa>::kCount, Registers<T, Isa>::kParts};
  });
  const Slots slots{g.in.c, registers.count, registers.parts};
  // How far past an input pixel the first tap of output pixel 0 is.
  const auto phase = [&](int64_t pad) { return ((-pad) % g.up + g.up) % g.up; };
  if (g.in.c >= slots.block && g.stride <= 2 && g.up <= 2 && phase(g.top) == phase(g.left)) {
    if (g.kernel == 3) return tiles<T, 3>(g, slots, phase(g.top));
    if (g.kernel == 5) return tiles<T, 5>(g, slots, phase(g.top));
  }
  return {g.out.pixels(), false, {g.in.c, g.in.c}, correlate_pixels<T>, weights_pixels<T>};
}

// Pixels of pictures [begin, end) that a hook was not called for yet, picture by picture from the first line on.
class Asked {
 public:
  Asked(const PieceHook& hook, const Nhwc& shape, int thread) : hook_(hook), shape_(shape), thread_(thread) {}
  void next_picture(int64_t picture) { picture_ = picture, lines_ = 0; }
  void up_to(int64_t lines) {
    lines = std::min(lines, shape_.h);
    if (lines <= lines_) return;
    const int64_t first = picture_ * shape_.h;
    hook_((first + lines_) * shape_.w, (first + lines) * shape_.w, thread_);
    lines_ = lines;
  }
  int64_t lines() const { return lines_; }

 private:
  const PieceHook& hook_;
  const Nhwc& shape_;
  const int thread_;
  int64_t picture_ = 0, lines_ = 0;
};

// Rows of tiles between two calls of a hook, which a few pixels are not worth.
int64_t rows_a_hook(const Nhwc& out) {
  constexpr int64_t kEnough = 64;
  return std::max<int64_t>(1, kEnough / (depthwise::kRows * out.w));
}

// Lines of the input from its first that the output's lines in so many rows of tiles see.
int64_t lines_seen(const Correlation& g, int64_t rows) {
  const int64_t last = std::min(rows * depthwise::kRows, g.out.h) - 1;
  return (last * g.stride + g.kernel - 1 - g.top) / g.up + 1;
}

// True if threads can have pictures of their own, as many each: hooks are then called as lines are needed, else for all
// pixels before.
template <class T>
bool picture_by_picture(const Code<T>& code, const Correlation& g) {
  return code.in_tiles && g.out.n % num_threads() == 0 && code.rows(g.out) > rows_a_hook(g.out);
}

// A correlation ready to run: with the code for its sizes, and the workspace where its parameters lie in the order that
// this code wants.
template <class T>
struct ReadyCorrelation {
  using C = compute_t<T>;
  const Correlation g;
  const Code<T> code;
  const Workspace<C> workspace;

  ReadyCorrelation(const Correlation& correlation, std::span<C> buffer)
      : g(correlation), code(code_for<T>(g)), workspace(code.slots, g.kernel * g.kernel, buffer.data()) {}

  void pack(std::span<const C> weight, std::span<const C> bias, bool turn) const {
    const int64_t slots = code.slots.count(), lanes = code.slots.lanes(), taps = workspace.taps;
    std::fill(workspace.zeros, workspace.weight, 0);
    code.slots.for_each([&](int64_t slot, int64_t first, int64_t step, int64_t) {
      for (int64_t i = 0; i < lanes && !bias.empty(); ++i) workspace.bias[slot + i] = bias[first + i * step];
      for (int64_t tap = 0; tap < taps; ++tap) {
        const C* from = weight.data() + first * taps + (turn ? taps - 1 - tap : tap);
        for (int64_t i = 0; i < lanes; ++i) workspace.weight[tap * slots + slot + i] = from[i * step * taps];
      }
    });
  }
  void clear_sums() const {
    std::fill(workspace.zeros, workspace.bias, 0);
    std::fill(workspace.thread(0), workspace.thread(num_threads()), 0);
  }
  void add_sums(std::span<const T> dy, std::span<const T> x, int64_t begin, int64_t end, int thread) const {
    code.weights(dy.data(), x.data(), g, workspace, thread, begin, end);
  }
  // The gradients that all threads found.
  void take_sums(std::span<C> dweight, std::span<C> dbias, std::span<const T> dy) const {
    const int64_t slots = code.slots.count(), lanes = code.slots.lanes(), taps = workspace.taps, channels = g.in.c;
    if (!dbias.empty())
      parallel_for(g.out.pixels(), [&](int64_t begin, int64_t end, int thread) {
        add_rows(workspace.thread(thread) + taps * slots, dy.data() + begin * channels, end - begin, channels);
      });
    for (int t = 0; t < num_threads(); ++t) {
      const C* sums = workspace.thread(t);
      code.slots.for_each([&](int64_t slot, int64_t first, int64_t step, int64_t again) {
        for (int64_t tap = 0; tap < taps; ++tap)
          for (int64_t i = again; i < lanes; ++i)
            dweight[(first + i * step) * taps + tap] += sums[tap * slots + slot + i];
      });
      for (std::size_t c = 0; c < dbias.size(); ++c) dbias[c] += sums[taps * slots + c];
    }
  }
  void run(std::span<T> out, std::span<const T> in, int64_t begin, int64_t end, int thread,
           const PieceHook& after) const {
    const int64_t step = after && code.in_tiles ? rows_a_hook(g.out) : end - begin;
    for (int64_t unit = begin; unit < end; unit += step) {
      const int64_t last = std::min(unit + step, end);
      code.correlate(out.data(), in.data(), g, workspace, thread, unit, last);
      if (after) after(code.first_pixel(unit, g.out), code.first_pixel(last, g.out), thread);
    }
  }
};

template <class T>
void correlate(std::span<T> out, std::span<const T> in, const ReadyCorrelation<T>& to, const PieceHook& before,
               const PieceHook& after) {
  const Correlation& g = to.g;
  if (!before || !picture_by_picture(to.code, g)) {
    if (before) parallel_for(g.in.pixels(), before);
    return parallel_for(to.code.count,
                        [&](int64_t begin, int64_t end, int thread) { to.run(out, in, begin, end, thread, after); });
  }
  const int64_t rows = to.code.rows(g.out), step = rows_a_hook(g.out);
  parallel_for(g.out.n, [&](int64_t begin, int64_t end, int thread) {
    Asked asked(before, g.in, thread);
    for (int64_t picture = begin; picture < end; ++picture) {
      asked.next_picture(picture);
      for (int64_t row = 0; row < rows; row += step) {
        const int64_t next = std::min(row + step, rows);
        asked.up_to(next < rows ? lines_seen(g, next) : g.in.h);
        to.run(out, in, picture * rows + row, picture * rows + next, thread, after);
      }
    }
  });
}

template <class T>
void check(const Nhwc& x_shape, const DepthwiseConv2d& op, std::span<const T> x, std::span<const T> y,
           std::span<const compute_t<T>> weight, std::span<const compute_t<T>> bias,
           std::span<const compute_t<T>> workspace) {
  const auto size = [](auto buffer) { return static_cast<int64_t>(buffer.size()); };
  check_sizes("depthwise_conv2d", {size(x), size(y), size(weight), size(bias), size(workspace)},
              {x_shape.size(), forward_of(x_shape, op).out.size(), x_shape.c * op.kernel * op.kernel, x_shape.c,
               depthwise_conv2d_workspace(x_shape, op)});
}

}  // namespace

int64_t depthwise_conv2d_workspace(const Nhwc& x_shape, const DepthwiseConv2d& op) {
  const Slots most{x_shape.c, 32};  // bfloat16 with AVX-512
  const Workspace<float> workspace(most, op.kernel * op.kernel, nullptr);
  return 2 * (workspace.thread(num_threads()) - workspace.zeros);  // backward, one for each direction
}

template <class T>
void depthwise_conv2d_forward(std::span<T> y, std::span<const T> x, std::span<const compute_t<T>> weight,
                              std::span<const compute_t<T>> bias, const Nhwc& x_shape, const DepthwiseConv2d& op,
                              std::span<compute_t<T>> workspace, const PieceHooks& hooks) {
  check<T>(x_shape, op, x, y, weight, bias, workspace);
  const ReadyCorrelation<T> to(forward_of(x_shape, op), workspace);
  to.pack(weight, bias, false);
  correlate(y, x, to, hooks.x, hooks.y);
}

template <class T>
void depthwise_conv2d_backward_data(std::span<T> dx, std::span<const T> dy, std::span<const compute_t<T>> weight,
                                    const Nhwc& x_shape, const DepthwiseConv2d& op, std::span<compute_t<T>> workspace) {
  check<T>(x_shape, op, dx, dy, weight, {}, workspace);
  const ReadyCorrelation<T> to(backward_of(x_shape, op), workspace);
  to.pack(weight, {}, true);
  correlate(dx, dy, to, {}, {});
}

template <class T>
void depthwise_conv2d_backward_weights(std::span<compute_t<T>> dweight, std::span<compute_t<T>> dbias,
                                       std::span<const T> dy, std::span<const T> x, const Nhwc& x_shape,
                                       const DepthwiseConv2d& op, std::span<compute_t<T>> workspace) {
  check<T>(x_shape, op, x, dy, dweight, dbias, workspace);
  const ReadyCorrelation<T> from(forward_of(x_shape, op), workspace);
  from.clear_sums();
  parallel_for(from.code.count,
               [&](int64_t begin, int64_t end, int thread) { from.add_sums(dy, x, begin, end, thread); });
  from.take_sums(dweight, dbias, dy);
}

template <class T>
void depthwise_conv2d_backward(const DepthwiseGradients<T>& gradients, std::span<const T> dy, std::span<const T> x,
                               std::span<const compute_t<T>> weight, const Nhwc& x_shape, const DepthwiseConv2d& op,
                               std::span<compute_t<T>> workspace, const PieceHooks& hooks) {
  const auto dx = gradients.dx;  // named one by one, because clang's lambdas capture no structured bindings
  const auto dweight = gradients.dweight, dbias = gradients.dbias;
  check<T>(x_shape, op, x, dy, dweight, dbias, workspace);
  if (!dx.empty()) check<T>(x_shape, op, dx, dy, weight, {}, workspace);
  const ReadyCorrelation<T> from(forward_of(x_shape, op), workspace.first(workspace.size() / 2)),
      to(backward_of(x_shape, op), workspace.last(workspace.size() / 2));
  from.clear_sums();
  if (!dx.empty()) to.pack(weight, {}, true);
  if (!picture_by_picture(from.code, from.g) || !to.code.in_tiles) {
    if (hooks.x_again) parallel_for(from.g.in.pixels(), hooks.x_again);
    if (hooks.dy) parallel_for(from.g.out.pixels(), hooks.dy);
    parallel_for(from.code.count,
                 [&](int64_t begin, int64_t end, int thread) { from.add_sums(dy, x, begin, end, thread); });
    if (!dx.empty()) correlate(dx, dy, to, {}, hooks.dx);
    return from.take_sums(dweight, dbias, dy);
  }
  const int64_t rows = from.code.rows(from.g.out), dx_rows = dx.empty() ? 0 : to.code.rows(to.g.out),
                step = rows_a_hook(from.g.out);
  parallel_for(x_shape.n, [&](int64_t begin, int64_t end, int thread) {
    Asked again(hooks.x_again, from.g.in, thread), ready(hooks.dy, from.g.out, thread);
    for (int64_t picture = begin; picture < end; ++picture) {
      again.next_picture(picture);
      ready.next_picture(picture);
      for (int64_t row = 0, dx_row = 0; row < rows; row += step) {
        const int64_t next = std::min(row + step, rows);
        again.up_to(next < rows ? lines_seen(from.g, next) : from.g.in.h);
        ready.up_to(next * depthwise::kRows);
        from.add_sums(dy, x, picture * rows + row, picture * rows + next, thread);
        // Of dx the rows that need no more of dy.
        int64_t dx_next = dx_row;
        while (dx_next < dx_rows && (next == rows || lines_seen(to.g, dx_next + 1) <= ready.lines())) ++dx_next;
        if (dx_row < dx_next) to.run(dx, dy, picture * dx_rows + dx_row, picture * dx_rows + dx_next, thread, hooks.dx);
        dx_row = dx_next;
      }
    }
  });
  from.take_sums(dweight, dbias, dy);
}

#define PLEAT_INSTANTIATE(T)                                                                                       \
  template void depthwise_conv2d_forward<T>(std::span<T>, std::span<const T>, std::span<const compute_t<T>>,       \
                                            std::span<const compute_t<T>>, const Nhwc&, const DepthwiseConv2d&,    \
                                            std::span<compute_t<T>>, const PieceHooks&);                           \
  template void depthwise_conv2d_backward_data<T>(std::span<T>, std::span<const T>, std::span<const compute_t<T>>, \
                                                  const Nhwc&, const DepthwiseConv2d&, std::span<compute_t<T>>);   \
  template void depthwise_conv2d_backward<T>(const DepthwiseGradients<T>&, std::span<const T>, std::span<const T>, \
                                             std::span<const compute_t<T>>, const Nhwc&, const DepthwiseConv2d&,   \
                                             std::span<compute_t<T>>, const PieceHooks&);                          \
  template void depthwise_conv2d_backward_weights<T>(std::span<compute_t<T>>, std::span<compute_t<T>>,             \
                                                     std::span<const T>, std::span<const T>, const Nhwc&,          \
                                                     const DepthwiseConv2d&, std::span<compute_t<T>>);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
