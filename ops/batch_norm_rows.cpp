#include "ops/batch_norm_rows.hpp"

#include <algorithm>

#include "core/simd/simd.hpp"
#include "ops/nonlinearity.hpp"

namespace pleat {
namespace {

// Rows are walked in tiles of pixels, and a tile in blocks of channels, a register each: so a block's accumulators stay
// in registers, and the lines that two blocks share in the first-level cache. Tiles of wide rows that come from afar
// are low, down to four pixels: the processor foresees a few streams, but no jumps of a page from pixel to pixel.
constexpr int64_t kTileBytes = 8 << 10, kTileMost = 64, kTileLeast = 4;

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
  PLEAT_INLINE Factors(const BatchNormRows<T>& r, int64_t c, int64_t lanes) {
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
PLEAT_INLINE inline int64_t tile_height(const BatchNormRows<T>& r) {
  return r.near ? kTileMost : std::clamp(kTileBytes / (r.channels * int64_t{sizeof(T)}), kTileLeast, kTileMost);
}
// Calls body(a vector, first pixel, last pixel, first channel, channels) for every block of the rows: in V, what is
// left in half of one if it fills that, and only then with `channels` that are not the constant width of the vector.
template <class Isa, class T, class Body>
PLEAT_INLINE inline void for_blocks(const BatchNormRows<T>& r, const Body& body) {
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
// might, for all the compiler knows, be its rows.
template <class T>
struct Block {
  const T *x, *residual, *dy;
  T *y, *dz, *dx;
  int64_t step, begin, end;
  PLEAT_INLINE Block(const BatchNormRows<T>& r, int64_t first, int64_t last, int64_t c)
      : x(r.x), residual(r.residual), dy(r.dy), y(r.y), dz(r.dz), dx(r.dx), step(r.channels) {
    begin = first * step + c;
    end = last * step;
  }
};

template <class Isa, class T, class F, bool kResidual>
PLEAT_INLINE inline void forward_body(const BatchNormRows<T>& r) {
  const int64_t tile = tile_height(r) * r.channels;
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    const AlphaForm<Isa, F, W> act(r.params);
    const Factors<W> f(r, c, lanes);
    const Block<T> b(r, begin, end, c);
    for (int64_t i = b.begin; i < b.end; i += b.step) {
      W x, z, y;
      prefetch_tile_after(b.x + i, tile);
      load<Isa>(x, b.x + i, lanes);
      z = x * f.scale + f.shift;
      add_residual<Isa, kResidual>(z, b.residual + i, lanes);
      act.forward(y, z);
      store<Isa>(b.y + i, y, lanes);
    }
  });
}

// sums: [3][channels], of dz, of dz * (x - mean), and of dy * (z - s(z)).
template <class Isa, class T, class F, bool kResidual>
PLEAT_INLINE inline void backward_sums_body(const BatchNormRows<T>& r) {
  const int64_t tile = tile_height(r) * r.channels;
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    const AlphaForm<Isa, F, W> act(r.params);
    const Factors<W> f(r, c, lanes);
    W dz_sum{}, product{}, dalpha{};
    const Block<T> b(r, begin, end, c);
    for (int64_t i = b.begin; i < b.end; i += b.step) {
      W x, dy, z, rest;
      prefetch_tile_after(b.x + i, tile);
      prefetch_tile_after(b.dy + i, tile);
      load<Isa>(x, b.x + i, lanes);
      load<Isa>(dy, b.dy + i, lanes);
      z = x * f.scale + f.shift;
      add_residual<Isa, kResidual>(z, b.residual + i, lanes);
      W dz = dy;
      act.backward(dz, rest, z);
      dalpha += dy * rest;
      dz_sum += dz;
      product += dz * (x - f.mean);
      if (kResidual) store<Isa>(b.dz + i, dz, lanes);
    }
    add_to(r.sums + c, dz_sum, lanes);
    add_to(r.sums + r.channels + c, product, lanes);
    dalpha *= r.params.dalpha;
    add_to(r.sums + 2 * r.channels + c, dalpha, lanes);
  });
}

template <class Isa, class T, class F>
PLEAT_INLINE inline void backward_dx_body(const BatchNormRows<T>& r) {
  const int64_t tile = tile_height(r) * r.channels;
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    const AlphaForm<Isa, F, W> act(r.params);
    const Factors<W> f(r, c, lanes);
    W f0, f1, f2;
    load(f0, r.dx_factors + c, lanes);
    load(f1, r.dx_factors + r.channels + c, lanes);
    load(f2, r.dx_factors + 2 * r.channels + c, lanes);
    f2 -= f1 * f.mean;
    const Block<T> b(r, begin, end, c);
    for (int64_t i = b.begin; i < b.end; i += b.step) {
      W x, dz;
      prefetch_tile_after(b.x + i, tile);
      prefetch_tile_after(b.dy + i, tile);
      load<Isa>(x, b.x + i, lanes);
      load<Isa>(dz, b.dy + i, lanes);
      const W z = x * f.scale + f.shift;
      W rest;
      act.backward(dz, rest, z);
      store<Isa>(b.dx + i, f0 * dz + (f1 * x + f2), lanes);
    }
  });
}

// sums: [2][channels], of x - shift and its square.
template <class Isa, class T>
PLEAT_INLINE inline void statistics_body(const BatchNormRows<T>& r) {
  for_blocks<Isa>(r, [&]<class W>(const W&, int64_t begin, int64_t end, int64_t c, int64_t lanes) PLEAT_INLINE {
    constexpr int64_t kChains = 4;  // of additions, as each waits for the one before
    W sum[kChains] = {}, square[kChains] = {}, shift;
    load(shift, r.shift + c, lanes);
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

// Calls body(formula) outside of all loops: that of the rows' activation, or NoActivation.
template <class T, class Body>
void with_activation(const BatchNormRows<T>& r, const Body& body) {
  if (r.act)
    with_formula(r.s, body);
  else
    body(NoActivation());
}

}  // namespace

template <class T>
void batch_norm_forward_rows(const BatchNormRows<T>& r) {
  with_activation(r, [&]<class F>(F) {
    dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
      r.residual ? forward_body<Isa, T, F, true>(r) : forward_body<Isa, T, F, false>(r);
    });
  });
}

template <class T>
void batch_norm_backward_sums_rows(const BatchNormRows<T>& r) {
  with_activation(r, [&]<class F>(F) {
    dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
      r.residual ? backward_sums_body<Isa, T, F, true>(r) : backward_sums_body<Isa, T, F, false>(r);
    });
  });
}

template <class T>
void batch_norm_backward_dx_rows(const BatchNormRows<T>& r) {
  with_activation(
      r, [&]<class F>(F) { dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE { backward_dx_body<Isa, T, F>(r); }); });
}

template <class T>
void batch_norm_statistics_rows(const BatchNormRows<T>& r) {
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE { statistics_body<Isa>(r); });
}

#define PLEAT_INSTANTIATE(T)                                               \
  template void batch_norm_forward_rows<T>(const BatchNormRows<T>&);       \
  template void batch_norm_backward_sums_rows<T>(const BatchNormRows<T>&); \
  template void batch_norm_backward_dx_rows<T>(const BatchNormRows<T>&);   \
  template void batch_norm_statistics_rows<T>(const BatchNormRows<T>&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
