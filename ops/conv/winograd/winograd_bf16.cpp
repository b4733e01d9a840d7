// Layout: of a block of tiles the transformed inputs are [panel][pair of points][tile][2][16], because two points are
// rounded and stored at once, and the sums [point][tile][channel]. The weights are packed for each point as
// ops/conv/gemm/tile_product.hpp wants them.
//
// Loops: blocks of tiles; in a block runs of neighbouring tiles are transformed, a panel of 16 channels at a time; then
// each point's inputs are multiplied with its weights; then the sums are transformed back, again by runs and panels.
#include "ops/conv/winograd/winograd_bf16.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/simd/simd.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/gemm/tile_product.hpp"
#include "ops/conv/window.hpp"
#include "ops/conv/winograd/maps.hpp"

namespace pleat {
namespace {

constexpr const char* kName = "conv2d (Winograd)";
constexpr int kEdge = F2x2::kPoints, kPoints = kEdge * kEdge, kOutputs = F2x2::kOutputs;
constexpr int64_t kPair = 2 * kPanel;
// A^T takes the sums of row 1, column 1 to all four outputs, each as it is: where the bias goes in.
constexpr int kBiasPoint = kEdge + 1;

using V = Vec<float, kPanel>;

Tiling make_tiling(const Nhwc& x, const Conv2d& op) {
  PLEAT_CHECK(WinogradBf16::is_supported(x, op), kName, ": kernel=", op.kernel, " stride=", op.stride,
              " groups=", op.groups, ", ", x.c, " to ", op.out,
              " channels, expected 3, 1, 1, multiples of 16 and a CPU with AVX512-BF16");
  return {x, slide(x, op.out, 3, 1, op.pad), op.pad.top, op.pad.left, kOutputs};
}

// Twice as many tiles as are multiplied at once, by measurements of 16 to 512 channels; where threads do not have so
// many each, they share all there are.
Blocks choose_blocks(const Tiling& tiling) {
  constexpr int64_t kMost = 28;
  const int64_t tiles = tiling.tiles(), threads = num_threads();
  if (tiles < kMost * threads) return {tiles, 1};
  const int64_t blocks = (tiles + kMost * threads - 1) / (kMost * threads) * threads;
  return {(tiles + blocks - 1) / blocks, static_cast<int>(threads)};
}

// Calls body(first tile, the first of its outputs, count) for each run of neighbours among some tiles.
template <class Body>
PLEAT_INLINE inline void for_each_run(const Tiling& tiling, const Range& tiles, const Body& body) {
  for (int64_t tile = tiles.begin, count; tile < tiles.end; tile += count) {
    const Pixel at = tiling.first_output(tile);
    count = std::min(tiles.end - tile, tiling.columns - at.column / kOutputs);
    body(tile, at, count);
  }
}

// A panel of the inputs of neighbouring tiles, from `column` of four lines on, becomes points. Columns that a tile has
// in common with the next are transformed once.
template <class Isa>
PLEAT_INLINE inline void to_points(Bf16* to, int64_t pair, const Bf16* const (&lines)[kEdge], const Bf16* outside,
                                   const Nhwc& shape, int64_t column, int64_t tiles) {
  V half[kEdge][kEdge];  // [column][row]
  const auto next_column = [&](V(&rows)[kEdge]) PLEAT_INLINE {
    const bool is_inside = column >= 0 && column < shape.w;
    V d[kEdge];
    PLEAT_UNROLLED(r, kEdge) load<Isa>(d[r], is_inside ? lines[r] + column * shape.c : outside);
    F2x2::input(rows, d);
    ++column;
  };
  next_column(half[0]);
  next_column(half[1]);
  for (int64_t tile = 0; tile < tiles; ++tile, to += kPair) {
    next_column(half[2]);
    next_column(half[3]);
    Bf16* row = to;
    PLEAT_UNROLLED(r, kEdge) {
      const V d[kEdge] = {half[0][r], half[1][r], half[2][r], half[3][r]};
      V v[kEdge];
      F2x2::input(v, d);
      store_two<Isa>(row, v[0], v[1]);
      store_two<Isa>(row + pair, v[2], v[3]);
      row += 2 * pair;
      keep(row);
      half[0][r] = half[2][r];
      half[1][r] = half[3][r];
    }
  }
}

// As `multiply` for kDepth channels, so few that a panel's weights all stay in registers, and pixels that start alike.
template <class Isa, int kDepth>
PLEAT_INLINE inline void multiply_shallow(const Pixels<Bf16>& a, const Panels<Bf16>& b, const Sums& sums) {
  constexpr int64_t kSteps = kPanel / 2;  // of a run
  for (int64_t panel = 0; panel < b.count; ++panel) {
    V w[kDepth / 2], start;
    PLEAT_UNROLLED(i, kDepth / 2) {
      std::memcpy(&w[i], b.data + panel * b.panel + i * kPair, sizeof w[i]);
      keep(w[i]);
    }
    load(start, sums.start + panel * kPanel);
    const Bf16* from = a.data;
    float* to = sums.to + panel * kPanel;
    int64_t left = a.pixels;
    const auto some = [&](auto count) PLEAT_INLINE {
      constexpr int kCount = decltype(count)::value;
      for (; left >= kCount; left -= kCount, from += kCount * kPair) {
        V sum[kCount];
        PLEAT_UNROLLED(p, kCount) sum[p] = start;
        const Bf16* at = from;
        PLEAT_UNROLLED(run, kDepth / kPanel) {
          PLEAT_UNROLLED(i, kSteps)
          PLEAT_UNROLLED(p, kCount) multiply_add<Isa>(sum[p], at + p * kPair + 2 * i, w[run * kSteps + i]);
          at += a.run;
          keep(at);
        }
        PLEAT_UNROLLED(p, kCount) {
          store(to, sum[p]);
          to += sums.pixel;
          keep(to);
        }
      }
    };
    some(std::integral_constant<int, 14>());
    some(std::integral_constant<int, 4>());
    some(std::integral_constant<int, 1>());
  }
}

// A panel of the sums of neighbouring tiles becomes pixels, of which `rows` and `columns` are in the picture.
template <class Isa>
PLEAT_INLINE inline void to_pixels(Bf16* to, const Nhwc& shape, int64_t rows, int64_t columns, const float* from,
                                   int64_t point, int64_t tiles, bool adds, const Activation act) {
  for (int64_t tile = 0; tile < tiles; ++tile, from += shape.c, to += kOutputs * shape.c, columns -= kOutputs) {
    V y[kOutputs * kOutputs];
    const auto fetch = [&](V& value, int row, int column) PLEAT_INLINE {
      load(value, from + (row * kEdge + column) * point);
      keep(value);
    };
    const auto put = [&](int row, int column, const V& value) PLEAT_INLINE { y[row * kOutputs + column] = value; };
    map_tile<kOutputs, kEdge, V>(F2x2::output, fetch, put);
    const auto for_each_pixel = [&](const auto& body) PLEAT_INLINE {
      PLEAT_UNROLLED(row, kOutputs)
      PLEAT_UNROLLED(column, kOutputs)
      if (row < rows && column < columns) body(y[row * kOutputs + column], to + (row * shape.w + column) * shape.c);
    };
    if (adds)
      for_each_pixel([](V& value, const Bf16* pixel) PLEAT_INLINE {
        V before;
        load<Isa>(before, pixel);
        value += before;
      });
    activate(y, act);
    for_each_pixel([](const V& value, Bf16* pixel) PLEAT_INLINE { store<Isa>(pixel, value); });
  }
}

}  // namespace

bool WinogradBf16::is_supported(const Nhwc& x_shape, const Conv2d& op) {
  return op.kernel == 3 && op.stride == 1 && op.groups == 1 && x_shape.c % kPanel == 0 && op.out % kPanel == 0 &&
         has_tile_kernels<Bf16>();
}

WinogradBf16::WinogradBf16(const Nhwc& x_shape, const Conv2d& op)
    : tiling_(make_tiling(x_shape, op)),
      blocks_(choose_blocks(tiling_)),
      outside_(x_shape.w * x_shape.c),
      zeros_(op.out) {}

int64_t WinogradBf16::packed_size() const {
  return kPoints * tiling_.in.c * tiling_.out.c;
}
int64_t WinogradBf16::input_panel() const {
  return kPoints / 2 * input_pair() + kPair;  // a line between them: as in `matrix`
}
int64_t WinogradBf16::block_size() const {
  return kPoints * sums_point() + tiling_.in.c / kPanel * input_panel() / 2;
}
int64_t WinogradBf16::workspace_size() const {
  return blocks_.parts * block_size();
}

void WinogradBf16::pack(std::span<Bf16> packed, std::span<const float> weight) const {
  const int64_t from = tiling_.in.c, to = tiling_.out.c, point = from * to;
  check_size(kName, "packed", packed.size(), packed_size());
  check_size(kName, "weight", weight.size(), point * 9);
  const auto transform = winograd_transforms<float>(kOutputs, /*are_padded_2x2=*/false).weight;
  AlignedVector<float> points(packed_size());
  parallel_for(from, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < to; column += kPanel)
        transform(points.data() + row * to + column, point,
                  {weight.data() + (column * from + row) * 9, from * 9, kPanel}, /*rotated=*/false);
  });
  for (int64_t p = 0; p < kPoints; ++p)
    pack_panels<Bf16, float>(packed.subspan(p * point, point), {points.data() + p * point, to, from, 1, to}, from,
                             {to / kPanel, false});
}

void WinogradBf16::transform_inputs(const Block& block, const Range& tiles, const Bf16* from) const {
  const Nhwc& x = tiling_.in;
  dispatch_tiles<Bf16>([&]<class Isa>(Isa) PLEAT_INLINE {
    for_each_run(tiling_, tiles, [&](int64_t tile, const Pixel& at, int64_t count) PLEAT_INLINE {
      Bf16* points = block.inputs + (tile - block.first) * kPair;
      for (int64_t c = 0; c < x.c; c += kPanel, points += input_panel()) {
        const Bf16* lines[kEdge];
        PLEAT_UNROLLED(r, kEdge) {
          const int64_t row = at.row - tiling_.top + r;
          lines[r] = row >= 0 && row < x.h ? from + (at.picture * x.h + row) * x.w * x.c + c : outside_.data();
        }
        to_points<Isa>(points, input_pair(), lines, outside_.data(), x, at.column - tiling_.left, count);
      }
    });
  });
}

void WinogradBf16::multiply_points(const Block& block, const Range& points, const Bf16* packed,
                                   const float* bias) const {
  const int64_t in = tiling_.in.c, out = tiling_.out.c;
  const auto weights = [&](int64_t p) PLEAT_INLINE {
    return Panels<Bf16>{packed + p % kPoints * in * out, in * kPanel, out / kPanel};
  };
  const auto for_each_point = [&](const auto& product) PLEAT_INLINE {
    for (int64_t p = points.begin; p < points.end; ++p)
      product(p,
              Pixels<Bf16>{block.inputs + p / 2 * input_pair() + p % 2 * kPanel, 1, block.tiles, 0, kPair, in / kPanel,
                           input_panel()},
              Sums{p == kBiasPoint ? bias : zeros_.data(), 0, block.sums + p * sums_point(), 0, out, {}});
  };
  const auto shallow = [&](auto depth) PLEAT_INLINE {
    dispatch_tiles<Bf16>([&]<class Isa>(Isa) PLEAT_INLINE {
      for_each_point([&](int64_t p, const Pixels<Bf16>& inputs, const Sums& sums)
                         PLEAT_INLINE { multiply_shallow<Isa, decltype(depth)::value>(inputs, weights(p), sums); });
    });
  };
  if (in == kPanel)
    shallow(std::integral_constant<int, kPanel>());
  else if (in == 2 * kPanel)
    shallow(std::integral_constant<int, 2 * kPanel>());
  else
    for_each_point([&](int64_t p, const Pixels<Bf16>& inputs, const Sums& sums) {
      multiply(inputs, weights(p), kPanel, sums, weights(p + 1));
    });
}

void WinogradBf16::transform_sums(const Block& block, const Range& tiles, Bf16* to, const Epilogue& epilogue) const {
  const Nhwc& y = tiling_.out;
  dispatch_tiles<Bf16>([&]<class Isa>(Isa) PLEAT_INLINE {
    for_each_run(tiling_, tiles, [&](int64_t tile, const Pixel& at, int64_t count) PLEAT_INLINE {
      Bf16* const pixel = to + ((at.picture * y.h + at.row) * y.w + at.column) * y.c;
      for (int64_t c = 0; c < y.c; c += kPanel)
        to_pixels<Isa>(pixel + c, y, y.h - at.row, y.w - at.column, block.sums + (tile - block.first) * y.c + c,
                       sums_point(), count, epilogue.adds, epilogue.act);
    });
  });
}

void WinogradBf16::operator()(std::span<Bf16> to, std::span<const Bf16> from, std::span<const Bf16> packed,
                              const Epilogue& epilogue, std::span<float> workspace) const {
  check_size(kName, "y", to.size(), tiling_.out.size());
  check_size(kName, "x", from.size(), tiling_.in.size());
  check_size(kName, "packed", packed.size(), packed_size());
  check_size(kName, "workspace", workspace.size(), workspace_size());
  blocks_.for_each(tiling_, [&](int64_t first, int64_t part, bool) {
    float* const sums = workspace.data() + part * block_size();
    const Block block{first, std::min(blocks_.tiles, tiling_.tiles() - first),
                      reinterpret_cast<Bf16*>(sums + kPoints * sums_point()), sums};
    blocks_.split_work(block.tiles, [&](int64_t begin, int64_t end) {
      transform_inputs(block, {first + begin, first + end}, from.data());
    });
    blocks_.split_work(kPoints, [&](int64_t begin, int64_t end) {
      multiply_points(block, {begin, end}, packed.data(), epilogue.bias != nullptr ? epilogue.bias : zeros_.data());
    });
    blocks_.split_work(block.tiles, [&](int64_t begin, int64_t end) {
      transform_sums(block, {first + begin, first + end}, to.data(), epilogue);
    });
  });
}

}  // namespace pleat
