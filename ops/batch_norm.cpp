#include "ops/batch_norm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/simd/simd.hpp"

namespace pleat {
namespace {

// Rows are walked in tiles of pixels, and a tile in blocks of channels, a register each: so a block's accumulators stay
// in registers, and the lines that two blocks share in the first-level cache. Tiles of wide rows that come from afar
// are low, down to four pixels: the processor foresees a few streams, but no jumps of a page from pixel to pixel.
constexpr int64_t kTileBytes = 8 << 10, kTileMost = 64, kTileLeast = 4;

// So few pixels that whoever has just written them has them in a cache of its own.
constexpr int64_t kNearBytes = 384 << 10;

// Everything one pass needs, for the pixels [begin, end).
template <class T>
struct Rows {
  using C = compute_t<T>;
  T *y = nullptr, *dx = nullptr;
  T* dz = nullptr;  // the gradient before the activation, written where a residual needs it
  const T *x = nullptr, *residual = nullptr, *dy = nullptr;
  const C *shift = nullptr, *mean = nullptr, *rstd = nullptr, *gamma = nullptr, *beta = nullptr, *dx_factors = nullptr;
  C alpha = 0, floor = 0, cap = 0;  // s(z) = min(max(z, floor), cap)
  bool act = false;
  double* sums = nullptr;
  bool near = false;  // in the caches near the cores
  int64_t begin = 0, end = 0, channels = 0;
};

// Rows come from memory, and from block to block in an order that no processor foresees.
template <class T>
PLEAT_INLINE inline void prefetch_tile_after(const T* x, int64_t tile) {
  __builtin_prefetch(x + tile);
}

// Per-channel factors of one block: z = x * scale + shift.
template <class V>
struct Factors {
  V mean, scale, shift;
  template <class T>
  PLEAT_INLINE Factors(const Rows<T>& r, int64_t c, int64_t lanes) {
    V rstd, gamma, beta;
    load(mean, r.mean + c, lanes);
    load(rstd, r.rstd + c, lanes);
    load(gamma, r.gamma + c, lanes);
    load(beta, r.beta + c, lanes);
    scale = rstd * gamma;
    shift = beta - mean * scale;
  }
};

template <class T>
PLEAT_INLINE inline int64_t tile_height(const Rows<T>& r) {
  return r.near ? kTileMost : std::clamp(kTileBytes / (r.channels * int64_t{sizeof(T)}), kTileLeast, kTileMost);
}
// Calls body(a vector, first pixel, last pixel, first channel, channels) for every block of the rows: in V, what is
// left in half of one if it fills that, and only then with `channels` that are not the constant width of the vector.
template <class Isa, class T, class Body>
PLEAT_INLINE inline void for_blocks(const Rows<T>& r, const Body& body) {
  using V = Vec<compute_t<T>, Isa::kBytes / sizeof(compute_t<T>)>;
  constexpr int64_t kLanes = kWidthOf<V>, kHalf = kLanes / 2;
  const int64_t height = tile_height(r);
  for (int64_t tile = r.begin; tile < r.end; tile += height) {
    const int64_t tile_end = tile + height < r.end ? tile + height : r.end;
    int64_t c = 0;
    for (; c + kLanes <= r.channels; c += kLanes) body(V{}, tile, tile_end, c, kLanes);
    if (c + kHalf <= r.channels) {
      body(Vec<compute_t<T>, kHalf>{}, tile, tile_end, c, kHalf);
      c += kHalf;
    }
    if (c < r.channels) body(V{}, tile, tile_end, c, r.channels - c);
  }
}

// s and its slope. The floor is a value like the cap: were it known to be zero, GCC 12 would compare and mask where a
// maximum does.
template <class V>
struct Nonlinear {
  using C = std::remove_cvref_t<decltype(V{}[0])>;
  V floor, cap;
  C alpha;
  template <class T>
  PLEAT_INLINE explicit Nonlinear(const Rows<T>& r) : floor(V{} + r.floor), cap(V{} + r.cap), alpha(r.alpha) {}
  PLEAT_INLINE void clamp(V& s, const V& z) const {
    s = floor > z ? floor : z;
    s = cap < s ? cap : s;
  }
  // dz = dy where s has slope 1, alpha * dy where it is flat; dz comes as dy.
  template <class Isa>
  PLEAT_INLINE void through(V& dz, const V& z) const {
    const V dy = dz;
    dz = alpha * dy;
    take_between<Isa>(dz, floor, z, cap, dy);
  }
};

// Adds a block's sums to those of the rows.
template <class V>
PLEAT_INLINE inline void add_to(double* sums, const V& block, int64_t lanes) {
  Vec<double, kWidthOf<V>> sum;
  load(sum, sums, lanes);
  sum += __builtin_convertvector(block, Vec<double, kWidthOf<V>>);
  store(sums, sum, lanes);
}

template <class Isa, bool kResidual, class V, class T>
PLEAT_INLINE inline void add_residual(V& z, const T* from, int64_t lanes) {
  if constexpr (kResidual) {
    V residual;
    load<Isa>(residual, from, lanes);
    z += residual;
  }
}

// Where a block's values are: from `begin` by `step` to `end`. In variables of their own, as what a kernel writes
// might, for all the compiler knows, be its Rows.
template <class T>
struct Block {
  const T *x, *residual, *dy;
  T *y, *dz, *dx;
  int64_t step, begin, end;
  PLEAT_INLINE Block(const Rows<T>& r, int64_t first, int64_t last, int64_t c)
      : x(r.x), residual(r.residual), dy(r.dy), y(r.y), dz(r.dz), dx(r.dx), step(r.channels) {
    begin = first * step + c;
    end = last * step;
  }
};

template <class Isa, class T, bool kResidual, bool kAct>
PLEAT_INLINE inline void forward_body(const Rows<T>& r) {
  const int64_t tile = tile_height(r) * r.channels;
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    const Nonlinear<W> act(r);
    const Factors<W> f(r, c, lanes);
    const Block<T> b(r, begin, end, c);
    for (int64_t i = b.begin; i < b.end; i += b.step) {
      W x, z, s;
      prefetch_tile_after(b.x + i, tile);
      load<Isa>(x, b.x + i, lanes);
      z = x * f.scale + f.shift;
      add_residual<Isa, kResidual>(z, b.residual + i, lanes);
      act.clamp(s, z);
      store<Isa>(b.y + i, kAct ? s + act.alpha * (z - s) : z, lanes);
    }
  });
}

// sums: [3][channels], of dz, of dz * (x - mean), and of dy * (z - s(z)).
template <class Isa, class T, bool kResidual, bool kAct>
PLEAT_INLINE inline void backward_sums_body(const Rows<T>& r) {
  const int64_t tile = tile_height(r) * r.channels;
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    const Nonlinear<W> act(r);
    const Factors<W> f(r, c, lanes);
    W dz_sum{}, product{}, dalpha{};
    const Block<T> b(r, begin, end, c);
    for (int64_t i = b.begin; i < b.end; i += b.step) {
      W x, dy, z, s;
      prefetch_tile_after(b.x + i, tile);
      prefetch_tile_after(b.dy + i, tile);
      load<Isa>(x, b.x + i, lanes);
      load<Isa>(dy, b.dy + i, lanes);
      z = x * f.scale + f.shift;
      add_residual<Isa, kResidual>(z, b.residual + i, lanes);
      W dz = dy;
      if (kAct) {
        act.clamp(s, z);
        dalpha += dy * (z - s);
        act.template through<Isa>(dz, z);
      }
      dz_sum += dz;
      product += dz * (x - f.mean);
      if (kResidual) store<Isa>(b.dz + i, dz, lanes);
    }
    add_to(r.sums + c, dz_sum, lanes);
    add_to(r.sums + r.channels + c, product, lanes);
    add_to(r.sums + 2 * r.channels + c, dalpha, lanes);
  });
}

template <class Isa, class T, bool kAct>
PLEAT_INLINE inline void backward_dx_body(const Rows<T>& r) {
  const int64_t tile = tile_height(r) * r.channels;
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    const Nonlinear<W> act(r);
    const Factors<W> f(r, c, lanes);
    W f0, f1, f2;
    load<Isa>(f0, r.dx_factors + c, lanes);
    load<Isa>(f1, r.dx_factors + r.channels + c, lanes);
    load<Isa>(f2, r.dx_factors + 2 * r.channels + c, lanes);
    f2 -= f1 * f.mean;
    const Block<T> b(r, begin, end, c);
    for (int64_t i = b.begin; i < b.end; i += b.step) {
      W x, dz;
      prefetch_tile_after(b.x + i, tile);
      prefetch_tile_after(b.dy + i, tile);
      load<Isa>(x, b.x + i, lanes);
      load<Isa>(dz, b.dy + i, lanes);
      if (kAct) {
        const W z = x * f.scale + f.shift;
        act.template through<Isa>(dz, z);
      }
      store<Isa>(b.dx + i, f0 * dz + (f1 * x + f2), lanes);
    }
  });
}

// sums: [2][channels], of x - shift and its square.
template <class Isa, class T>
PLEAT_INLINE inline void statistics_body(const Rows<T>& r) {
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    constexpr int64_t kChains = 4;  // of additions, as each waits for the one before
    W sum[kChains] = {}, square[kChains] = {}, shift;
    load<Isa>(shift, r.shift + c, lanes);
    const Block<T> b(r, begin, end, c);
    const auto add = [&](int64_t i, int64_t chain) PLEAT_INLINE {
      W x;
      load<Isa>(x, b.x + i, lanes);
      x -= shift;
      sum[chain] += x;
      square[chain] += x * x;
    };
    int64_t i = b.begin;
    for (; i + (kChains - 1) * b.step < b.end; i += kChains * b.step) {
      PLEAT_UNROLLED(chain, kChains) add(i + chain * b.step, chain);
    }
    for (; i < b.end; i += b.step) add(i, 0);
    PLEAT_UNROLLED(chain, kChains - 1) {
      sum[0] += sum[chain + 1];
      square[0] += square[chain + 1];
    }
    add_to(r.sums + c, sum[0], lanes);
    add_to(r.sums + r.channels + c, square[0], lanes);
  });
}

// Each pass, compiled for every instruction set; flags become straight loops of their own.

template <class T>
void forward_rows(const Rows<T>& r) {
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    if (r.residual)
      r.act ? forward_body<Isa, T, true, true>(r) : forward_body<Isa, T, true, false>(r);
    else
      r.act ? forward_body<Isa, T, false, true>(r) : forward_body<Isa, T, false, false>(r);
  });
}

template <class T>
void backward_sums_rows(const Rows<T>& r) {
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    if (r.residual)
      r.act ? backward_sums_body<Isa, T, true, true>(r) : backward_sums_body<Isa, T, true, false>(r);
    else
      r.act ? backward_sums_body<Isa, T, false, true>(r) : backward_sums_body<Isa, T, false, false>(r);
  });
}

template <class T>
void backward_dx_rows(const Rows<T>& r) {
  dispatch<T>([&]<class Isa>(Isa)
                  PLEAT_INLINE { r.act ? backward_dx_body<Isa, T, true>(r) : backward_dx_body<Isa, T, false>(r); });
}

template <class T>
void statistics_rows(const Rows<T>& r) {
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE { statistics_body<Isa>(r); });
}

template <class T>
Rows<T> rows_of(std::span<const T> x, const BatchNormTail<T>& tail, const BatchNormSaved<T>& saved,
                const BatchNormParams<T>& params) {
  using C = compute_t<T>;
  return {.x = x.data(),
          .residual = tail.residual.data(),
          .mean = saved.mean.data(),
          .rstd = saved.rstd.data(),
          .gamma = params.gamma.data(),
          .beta = params.beta.data(),
          .dx_factors = saved.dx_factors.data(),
          .alpha = tail.alpha,
          .cap = tail.act && tail.act->s == Nonlinearity::relu6 ? C{6} : std::numeric_limits<C>::infinity(),
          .act = tail.act != nullptr,
          .channels = std::ssize(saved.mean)};
}

// Adds up every thread's sums, in thread order, into the first's.
void join_parts(AlignedVector<double>& sums, int64_t channels) {
  const std::size_t count = 3 * channels;
  for (std::size_t i = count; i < sums.size(); ++i) sums[i % count] += sums[i];
}

}  // namespace

template <class T>
BatchNormSaved<T>::BatchNormSaved(int64_t channels)
    : mean(channels),
      rstd(channels),
      dx_factors(3 * channels),
      pixels(num_threads()),
      shift(num_threads() * channels),
      sums(num_threads() * 3 * channels) {}

template <class T>
void batch_norm_add_statistics(BatchNormSaved<T>& saved, std::span<const T> x, int thread) {
  const auto channels = std::ssize(saved.mean), pixels = std::ssize(x) / channels;
  auto* const shift = saved.shift.data() + thread * channels;
  if (saved.pixels[thread] == 0) std::copy_n(x.begin(), channels, shift);
  saved.pixels[thread] += pixels;
  statistics_rows(Rows<T>{.x = x.data(),
                          .shift = shift,
                          .sums = saved.sums.data() + thread * 3 * channels,
                          .near = std::ssize(x) * int64_t{sizeof(T)} <= kNearBytes,
                          .end = pixels,
                          .channels = channels});
}

template <class T>
void batch_norm_finish_statistics(BatchNormSaved<T>& saved, std::span<compute_t<T>> running_mean,
                                  std::span<compute_t<T>> running_var, const BatchNorm& op) {
  using C = compute_t<T>;
  const int64_t channels = std::ssize(saved.mean);
  const int64_t pixels = std::accumulate(saved.pixels.begin(), saved.pixels.end(), int64_t{0});
  PLEAT_CHECK(pixels >= 2, "batch_norm: training needs two values a channel, got ", pixels);
  const auto n = static_cast<double>(pixels);
  // Body(its pixels, its mean and how far its values are from that, squared and summed) for each thread's part.
  const auto for_parts = [&](int64_t c, const auto& body) {
    for (std::size_t t = 0; t < saved.pixels.size(); ++t) {
      if (saved.pixels[t] == 0) continue;
      const auto count = static_cast<double>(saved.pixels[t]);
      const double* sums = saved.sums.data() + t * 3 * channels;
      const double shifted = sums[c] / count;
      body(count, saved.shift[t * channels + c] + shifted,
           std::max(0.0, sums[channels + c] - count * shifted * shifted));
    }
  };
  for (int64_t c = 0; c < channels; ++c) {
    double batch_mean = 0, variance = 0;
    for_parts(c, [&](double count, double mean, double) { batch_mean += count / n * mean; });
    for_parts(c, [&](double count, double mean, double squares) {
      variance += (squares + count * (mean - batch_mean) * (mean - batch_mean)) / n;
    });
    saved.mean[c] = static_cast<C>(batch_mean);
    saved.rstd[c] = static_cast<C>(1 / std::sqrt(variance + op.eps));
    running_mean[c] = static_cast<C>((1 - op.momentum) * running_mean[c] + op.momentum * batch_mean);
    running_var[c] = static_cast<C>((1 - op.momentum) * running_var[c] + op.momentum * variance * n / (n - 1));
  }
  std::fill(saved.pixels.begin(), saved.pixels.end(), 0);
  std::fill(saved.sums.begin(), saved.sums.end(), 0.0);
}

template <class T>
void batch_norm_running(BatchNormSaved<T>& saved, std::span<const compute_t<T>> running_mean,
                        std::span<const compute_t<T>> running_var, const BatchNorm& op) {
  for (std::size_t c = 0; c < saved.mean.size(); ++c) {
    saved.mean[c] = running_mean[c];
    saved.rstd[c] = static_cast<compute_t<T>>(1 / std::sqrt(double{running_var[c]} + op.eps));
  }
}

template <class T>
void batch_norm_forward(std::span<T> y, std::span<const T> x, const BatchNormTail<T>& tail,
                        const BatchNormSaved<T>& saved, const BatchNormParams<T>& params) {
  Rows<T> rows = rows_of(x, tail, saved, params);
  rows.y = y.data();
  rows.end = std::ssize(x) / rows.channels;
  forward_rows(rows);
}

template <class T>
void batch_norm_backward_sums(BatchNormSaved<T>& saved, std::span<T> dz, std::span<const T> dy, std::span<const T> x,
                              const BatchNormTail<T>& tail, const BatchNormParams<T>& params, int thread) {
  const auto channels = std::ssize(saved.mean);
  Rows<T> rows = rows_of(x, tail, saved, params);
  rows.dy = dy.data();
  rows.dz = dz.data();
  rows.sums = saved.sums.data() + thread * 3 * channels;
  rows.near = std::ssize(x) * int64_t{sizeof(T)} <= kNearBytes;
  rows.end = std::ssize(x) / channels;
  backward_sums_rows(rows);
}

template <class T>
void batch_norm_backward_finish(BatchNormSaved<T>& saved, compute_t<T>* dalpha, std::span<compute_t<T>> dgamma,
                                std::span<compute_t<T>> dbeta, const BatchNormParams<T>& params, const Nhwc& shape) {
  using C = compute_t<T>;
  const int64_t channels = shape.c;
  const double n = static_cast<double>(shape.pixels());
  join_parts(saved.sums, channels);
  double dalpha_sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double dz_sum = saved.sums[c], dgamma_c = saved.sums[channels + c] * saved.rstd[c];  // sum of dz * xhat
    dbeta[c] += static_cast<C>(dz_sum);
    dgamma[c] += static_cast<C>(dgamma_c);
    dalpha_sum += saved.sums[2 * channels + c];
    const double scale = double{params.gamma[c]} * saved.rstd[c];
    saved.dx_factors[c] = static_cast<C>(scale);
    saved.dx_factors[channels + c] = static_cast<C>(-scale * saved.rstd[c] * dgamma_c / n);
    saved.dx_factors[2 * channels + c] = static_cast<C>(-scale * dz_sum / n);
  }
  if (dalpha) *dalpha += static_cast<C>(dalpha_sum);
  std::fill(saved.sums.begin(), saved.sums.end(), 0.0);
}

template <class T>
void batch_norm_backward_dx(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const BatchNormTail<T>& tail,
                            const BatchNormSaved<T>& saved, const BatchNormParams<T>& params) {
  Rows<T> rows = rows_of(x, tail, saved, params);
  rows.dy = dy.data();
  rows.dx = dx.data();
  rows.end = std::ssize(x) / rows.channels;
  backward_dx_rows(rows);
}

#define PLEAT_INSTANTIATE(T)                                                                                          \
  template struct BatchNormSaved<T>;                                                                                  \
  template void batch_norm_add_statistics(BatchNormSaved<T>&, std::span<const T>, int);                               \
  template void batch_norm_finish_statistics(BatchNormSaved<T>&, std::span<compute_t<T>>, std::span<compute_t<T>>,    \
                                             const BatchNorm&);                                                       \
  template void batch_norm_running(BatchNormSaved<T>&, std::span<const compute_t<T>>, std::span<const compute_t<T>>,  \
                                   const BatchNorm&);                                                                 \
  template void batch_norm_forward(std::span<T>, std::span<const T>, const BatchNormTail<T>&,                         \
                                   const BatchNormSaved<T>&, const BatchNormParams<T>&);                              \
  template void batch_norm_backward_sums(BatchNormSaved<T>&, std::span<T>, std::span<const T>, std::span<const T>,    \
                                         const BatchNormTail<T>&, const BatchNormParams<T>&, int);                    \
  template void batch_norm_backward_finish(BatchNormSaved<T>&, compute_t<T>*, std::span<compute_t<T>>,                \
                                           std::span<compute_t<T>>, const BatchNormParams<T>&, const Nhwc&);          \
  template void batch_norm_backward_dx(std::span<T>, std::span<const T>, std::span<const T>, const BatchNormTail<T>&, \
                                       const BatchNormSaved<T>&, const BatchNormParams<T>&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
