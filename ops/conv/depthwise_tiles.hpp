// The fast part of ops/conv/depthwise_conv2d.cpp, and private to it: kernels of 3 or 5 with stride 1 or 2. For a tile
// of 2x4 output pixels and one register's bytes of channels, all loops over taps and pixels are unrolled, and all sums
// are in registers. Each input pixel that the tile sees is loaded once and serves all sums that it is part of.
//
// The engine has another depthwise kernel, inside its fused block (fold/engine/fused_depthwise.hpp says why).
#pragma once

#include <algorithm>

#include "core/simd/simd.hpp"
#include "core/tensor.hpp"

namespace pleat::depthwise {

/// What forward and backward_data both are: through tap k of the kernel, output pixel o sees pixel
/// (o * stride + k - pad) / up of the input, in both directions, where that is whole and inside. Forward has up = 1;
/// backward_data makes dx of dy with stride = 1, up = the op's stride, and the kernel turned round.
struct Correlation {
  Nhwc in, out;
  int64_t kernel, stride, up, top, left;
};

/// The order of channels in packed parameters, such that they meet those in registers (Registers in
/// core/simd/simd.hpp): blocks of as many channels as a register holds, of bfloat16 the even ones and then the odd ones
/// of each. The last block begins early enough to end with the last channel.
struct Slots {
  int64_t channels, block, parts = 1;

  int64_t lanes() const { return block / parts; }
  int64_t count() const { return (channels + block - 1) / block * block; }
  /// Calls body(s, c, step, again) for each part of each block: slot s + i holds channel c + i * step, i < lanes(), of
  /// which the first `again` have been in the block before.
  template <class Body>
  void for_each(const Body& body) const {
    for (int64_t begin = 0; begin < channels; begin += block)
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t c = std::min(begin, channels - block) + part;
        body(begin + part * lanes(), c, parts, c < begin ? (begin - c + parts - 1) / parts : 0);
      }
  }
};

/// The workspace laid out: what all threads read, and a part for each to write to.
template <class C>
struct Workspace {
  Workspace(const Slots& slots, int64_t taps, C* buffer)
      : slots(slots),
        taps(taps),
        zeros(buffer),
        bias(zeros + slots.count()),
        weight(bias + slots.count()),
        threads(weight + taps * slots.count()) {}
  C* thread(int i) const { return threads + i * thread_size(); }
  int64_t thread_size() const { return (taps + 1) * slots.count(); }

  Slots slots;
  int64_t taps;
  C *zeros, *bias, *weight;  // [slot], which is as good as a pixel; [slot]; [tap][slot]
  C* threads;                // of each a pixel to write to, or [tap][slot] and [channel] of gradients
};

/// A tile: output pixels of which all sums are kept in registers.
constexpr int64_t kRows = 2, kCols = 4;

inline int64_t tile_rows(const Correlation& g) {
  return g.out.n * ((g.out.h + kRows - 1) / kRows);
}

/// With more bytes of activations than this, hence not in a cache near the cores, a tile asks for what the tile below
/// will be the first to touch: the processor does not foresee so long a step.
constexpr int64_t kFar = 2 << 20;

/// The kHeight x kWidth pixels of a picture that a tile reads or writes, `outside` for those that are outside. The next
/// tile is kDown rows below or kAcross columns to the right.
template <class T, int64_t kHeight, int64_t kWidth, int64_t kDown, int64_t kAcross>
struct TilePixels {
  T* at[kHeight][kWidth] = {};
  int64_t x = -1;      // the column that `at` is for, if all is inside: other tiles with all inside need but a shift
  int64_t shift = 0;   // from there
  T* below = nullptr;  // what only the tile below will touch begins here

  PLEAT_INLINE T* pixel(int64_t i, int64_t j) const { return at[i][j] + shift; }
  PLEAT_INLINE void move(const Nhwc& shape, T* picture, int64_t iy, int64_t ix, T* outside) {
    below = picture + ((iy + kHeight) * shape.w + ix + kWidth - kAcross) * shape.c;
    const bool inside = iy >= 0 && iy + kHeight <= shape.h && ix >= 0 && ix + kWidth <= shape.w;
    if (inside && x >= 0) {
      shift = (ix - x) * shape.c;
      return;
    }
    for (int64_t i = 0; i < kHeight; ++i)
      for (int64_t j = 0; j < kWidth; ++j) {
        const bool in_picture = iy + i >= 0 && iy + i < shape.h && ix + j >= 0 && ix + j < shape.w;
        at[i][j] = in_picture ? picture + ((iy + i) * shape.w + ix + j) * shape.c : outside;
      }
    shift = 0;
    x = inside ? ix : -1;
  }
  // Of kDown rows of kAcross pixels, the share of the block at `slot`.
  PLEAT_INLINE void prefetch_below(const Nhwc& shape, int64_t slot, int64_t block) const {
    PLEAT_UNROLLED(i, kDown)
    PLEAT_UNROLLED(j, kAcross) __builtin_prefetch(below + i * shape.w * shape.c + slot * kAcross + j * block, 0, 2);
  }
};

// Calls body(the input's pixels, the output's pixels, slot, channel) for each block of each tile in rows [begin, end)
// of them. kPhase: how far past an input pixel, before the division by kUp, the first tap of output pixel 0 is.
template <class Isa, int kKernel, int kStride, int kUp, int kPhase, class T, class Out, class Body>
PLEAT_INLINE inline void for_blocks(const Correlation& g, const T* in, const T* zeros, Out* out, Out* outside,
                                    int64_t begin, int64_t end, const Body& body) {
  constexpr int64_t kBlock = Registers<T, Isa>::kCount;
  constexpr int64_t kHeight = ((kRows - 1) * kStride + kKernel - 1 + kPhase) / kUp + 1;
  constexpr int64_t kWidth = ((kCols - 1) * kStride + kKernel - 1 + kPhase) / kUp + 1;
  const bool far = g.in.size() + g.out.size() > kFar / int64_t{sizeof(T)};
  const int64_t channels = g.in.c, rows = tile_rows(g) / g.out.n;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t picture = row / rows, oy = row % rows * kRows;
    TilePixels<const T, kHeight, kWidth, kRows * kStride / kUp, kCols * kStride / kUp> seen;
    TilePixels<Out, kRows, kCols, kRows, kCols> tile;
    for (int64_t ox = 0; ox < g.out.w; ox += kCols) {
      seen.move(g.in, in + picture * g.in.h * g.in.w * channels, (oy * kStride - g.top - kPhase) / kUp,
                (ox * kStride - g.left - kPhase) / kUp, zeros);
      tile.move(g.out, out + picture * g.out.h * g.out.w * channels, oy, ox, outside);
      for (int64_t slot = 0; slot < channels; slot += kBlock) {
        const int64_t c = slot + kBlock <= channels ? slot : channels - kBlock;
        if (far) {
          seen.prefetch_below(g.in, slot, kBlock);
          tile.prefetch_below(g.out, slot, kBlock);
        }
        body(seen, tile, slot, c);
      }
    }
  }
}

// A block of a tile of the output. `bias` and `weight` begin at its slot.
template <class T, class Isa, int kKernel, int kStride, int kUp, int kPhase, class Seen, class Tile>
PLEAT_INLINE inline void correlate_block(const Seen& seen, const Tile& tile, int64_t c, const compute_t<T>* bias,
                                         const compute_t<T>* weight, int64_t slots) {
  using R = Registers<T, Isa>;
  constexpr int64_t kHeight = ((kRows - 1) * kStride + kKernel - 1 + kPhase) / kUp + 1;
  constexpr int64_t kWidth = ((kCols - 1) * kStride + kKernel - 1 + kPhase) / kUp + 1;
  R sum[kRows][kCols];
  typename R::V w[kKernel][kKernel], x;
  PLEAT_UNROLLED(part, R::kParts) {
    load(x, bias + part * R::kPart);
    PLEAT_UNROLLED(r, kRows)
    PLEAT_UNROLLED(p, kCols) sum[r][p].part[part] = x;
    PLEAT_UNROLLED(kh, kKernel)
    PLEAT_UNROLLED(kw, kKernel) load(w[kh][kw], weight + (kh * kKernel + kw) * slots + part * R::kPart);
    // A pixel that is read serves all sums that it is part of.
    PLEAT_UNROLLED(i, kHeight)
    PLEAT_UNROLLED(j, kWidth) {
      R::load_part(x, seen.pixel(i, j) + c, part);
      PLEAT_UNROLLED(r, kRows)
      PLEAT_UNROLLED(p, kCols) {
        const int64_t kh = i * kUp - r * kStride - kPhase, kw = j * kUp - p * kStride - kPhase;
        if (kh >= 0 && kh < kKernel && kw >= 0 && kw < kKernel) sum[r][p].part[part] += w[kh][kw] * x;
      }
    }
  }
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(p, kCols) sum[r][p].store(tile.pixel(r, p) + c);
}

// What a block of a tile of dy adds to the gradient of the weights. `dweight` begins at its slot.
template <class T, class Isa, int kKernel, int kStride, class Seen, class Tile>
PLEAT_INLINE inline void weights_block(compute_t<T>* dweight, int64_t slots, const Seen& seen, const Tile& tile,
                                       int64_t c) {
  using R = Registers<T, Isa>;
  constexpr int64_t kHeight = (kRows - 1) * kStride + kKernel, kWidth = (kCols - 1) * kStride + kKernel;
  PLEAT_UNROLLED(part, R::kParts) {
    typename R::V dy[kRows][kCols], sum[kKernel][kKernel] = {}, x;
    PLEAT_UNROLLED(r, kRows)
    PLEAT_UNROLLED(p, kCols) R::load_part(dy[r][p], tile.pixel(r, p) + c, part);
    PLEAT_UNROLLED(i, kHeight)
    PLEAT_UNROLLED(j, kWidth) {
      R::load_part(x, seen.pixel(i, j) + c, part);
      PLEAT_UNROLLED(r, kRows)
      PLEAT_UNROLLED(p, kCols) {
        const int64_t kh = i - r * kStride, kw = j - p * kStride;
        if (kh >= 0 && kh < kKernel && kw >= 0 && kw < kKernel) sum[kh][kw] += x * dy[r][p];
      }
    }
    PLEAT_UNROLLED(kh, kKernel)
    PLEAT_UNROLLED(kw, kKernel) {
      compute_t<T>* to = dweight + (kh * kKernel + kw) * slots + part * R::kPart;
      load(x, to);
      x += sum[kh][kw];
      store(to, x);
    }
  }
}

/// Writes rows [begin, end) of tiles of out.
template <class T, int kKernel, int kStride, int kUp, int kPhase>
void correlate_tiles(T* out, const T* in, const Correlation& g, const Workspace<compute_t<T>>& workspace, int thread,
                     int64_t begin, int64_t end) {
  const compute_t<T>*bias = workspace.bias, *weight = workspace.weight;
  const int64_t slots = workspace.slots.count();
  const T* zeros = reinterpret_cast<const T*>(workspace.zeros);
  T* unread = reinterpret_cast<T*>(workspace.thread(thread));  // takes what falls outside the picture
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    const auto block = [&](const auto& seen, const auto& tile, int64_t slot, int64_t c) PLEAT_INLINE {
      correlate_block<T, Isa, kKernel, kStride, kUp, kPhase>(seen, tile, c, bias + slot, weight + slot, slots);
    };
    for_blocks<Isa, kKernel, kStride, kUp, kPhase>(g, in, zeros, out, unread, begin, end, block);
  });
}

/// Adds to the thread's [tap][slot] the gradient of the weights that rows [begin, end) of tiles of dy give.
template <class T, int kKernel, int kStride>
void weights_tiles(const T* dy, const T* x, const Correlation& g, const Workspace<compute_t<T>>& workspace, int thread,
                   int64_t begin, int64_t end) {
  compute_t<T>* dweight = workspace.thread(thread);
  const int64_t slots = workspace.slots.count();
  const T* zeros = reinterpret_cast<const T*>(workspace.zeros);
  dispatch<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    const auto block = [&](const auto& seen, const auto& tile, int64_t slot, int64_t c) PLEAT_INLINE {
      weights_block<T, Isa, kKernel, kStride>(dweight + slot, slots, seen, tile, c);
    };
    for_blocks<Isa, kKernel, kStride, 1, 0>(g, x, zeros, dy, zeros, begin, end, block);
  });
}

}  // namespace pleat::depthwise
