// How Winograd's convolution cuts pictures into tiles, and tiles into blocks, and where a block's points lie (private
// to ops/conv/winograd/winograd_conv2d.cpp, ops/conv/winograd/winograd_bf16.cpp and
// ops/conv/winograd/winograd_pass.cpp).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/graph.hpp"
#include "core/parallel.hpp"
#include "core/tensor.hpp"
#include "ops/conv/gemm/panel_gemm.hpp"
#include "ops/conv/winograd/transforms.hpp"

namespace pleat {

/// A pixel; beyond the borders of its picture, too.
struct Pixel {
  int64_t picture, row, column;
};

/// A convolution, of x to y or of dy to dx, whose output is cut into square tiles.
struct Tiling {
  Nhwc in, out;
  int top, left;          ///< from a tile's first output up and left to the first input it needs
  int edge;               ///< outputs of a tile
  int64_t rows, columns;  ///< tiles of a picture

  Tiling(const Nhwc& in_, const Nhwc& out_, int top_, int left_, int edge_)
      : in(in_),
        out(out_),
        top(top_),
        left(left_),
        edge(edge_),
        rows((out.h + edge - 1) / edge),
        columns((out.w + edge - 1) / edge) {}
  int64_t tiles() const { return out.n * rows * columns; }

  /// The first of a tile's outputs, and of the inputs it needs. Beyond the last tile: of pictures that are not there.
  Pixel first_output(int64_t tile) const {
    const int64_t row = tile / columns;
    return {row / rows, row % rows * edge, tile % columns * edge};
  }
  Pixel first_input(int64_t tile) const {
    const Pixel at = first_output(tile);
    return {at.picture, at.row - top, at.column - left};
  }
};

/// Lists the pixels of a square of `image`, row by row; `outside` stands for those that are not there.
template <class T>
void find_pixels(T** pixels, T* image, const Nhwc& shape, const Pixel& first, int edge, T* outside) {
  int64_t row_start = ((first.picture * shape.h + first.row) * shape.w + first.column) * shape.c;
  for (int64_t row = first.row; row < first.row + edge; ++row, row_start += shape.w * shape.c) {
    const bool is_row_inside = first.picture < shape.n && row >= 0 && row < shape.h;
    int64_t pixel = row_start;
    for (int64_t column = first.column; column < first.column + edge; ++column, pixel += shape.c)
      *pixels++ = is_row_inside && column >= 0 && column < shape.w ? image + pixel : outside;
  }
}

/// True for pictures that are one tile of Padded2x2's (ops/conv/winograd/transforms.hpp).
inline bool are_padded_2x2(const Nhwc& x, const Padding& pad) {
  return x.h == 2 && x.w == 2 && pad == Padding::uniform(1);
}

/// How threads share the work: `parts` threads have blocks of `tiles` of their own, or, if that is 1, all threads work
/// on the same block.
struct Blocks {
  int64_t tiles;
  int parts;

  /// Runs body(first tile, part, is it the part's first block) for every block.
  template <class Body>
  void for_each(const Tiling& tiling, const Body& body) const {
    const int64_t blocks = (tiling.tiles() + tiles - 1) / tiles;
    const auto run = [&](int64_t begin, int64_t end, int) {
      for (int64_t part = begin; part < end; ++part) {
        const Range range = split(blocks, static_cast<int>(part), parts);
        for (int64_t block = range.begin; block < range.end; ++block) body(block * tiles, part, block == range.begin);
      }
    };
    // Of one part all threads see all blocks.
    parts > 1 ? parallel_for(parts, run) : run(0, 1, 0);
  }

  /// Within a block: runs body(begin, end) for parts of [0, n), or at once if the block is the thread's own.
  template <class Body>
  void split_work(int64_t n, const Body& body) const {
    if (parts > 1)
      body(int64_t{0}, n);
    else
      parallel_for(n, [&](int64_t begin, int64_t end, int) { body(begin, end); });
  }

  /// Within a block: runs body(tile) for each of its tiles.
  template <class Body>
  void for_each_tile(const Body& body) const {
    split_work(tiles, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) body(tile);
    });
  }
};

/// For tiles whose points, of all channels, take so many bytes.
Blocks choose_blocks(const Tiling& tiling, int64_t tile_bytes, bool are_weights_small);

// Everything but pictures is kept as a matrix in panels for each of a tile's points: of a block [tiles, channels], of
// the weights [in, out], or [out, in] for the backward pass.

inline constexpr int kMostPoints = 6 * 6;  ///< of a tile

inline int64_t whole_panels(int64_t n) {
  return (n + kPanel - 1) / kPanel * kPanel;
}

/// From one point's matrix to the next one's. A line between them keeps the points of a tile from competing for the
/// same places in the cache.
inline int64_t matrix(int64_t rows, int64_t columns) {
  return rows * columns + kPanel;
}

inline TilePoints tile_points(float* points, int64_t tile, int64_t channels, const Blocks& blocks) {
  return {points + tile * kPanel, matrix(blocks.tiles, whole_panels(channels)), blocks.tiles * kPanel};
}

/// Transforms a block's tiles: `map` takes edge x edge pixels of `image` from first_pixel(tile) on.
template <class T, class First>
void pixels_to_points(void (*map)(const TilePoints&, const T* const*, int64_t), int edge, float* points, const T* image,
                      const Nhwc& shape, const First& first_pixel, const T* outside, const Blocks& blocks) {
  blocks.for_each_tile([&](int64_t tile) {
    const T* pixels[kMostPoints];
    find_pixels(pixels, image, shape, first_pixel(tile), edge, outside);
    map(tile_points(points, tile, shape.c, blocks), pixels, shape.c);
  });
}

/// Sizes of a product as in panel_gemm: c [m,n] of a [m,k] and b [k,n].
struct ProductSize {
  int64_t m, n, k;
};

/// c = a b, or c += a b if `accumulate`, at each of so many points.
inline void multiply_points(int points, float* c, const float* a, Transpose ta, const float* b, const ProductSize& size,
                            bool accumulate, const Blocks& blocks) {
  const int64_t m = size.m, n = size.n, k = size.k;
  constexpr int64_t kStrip = 4;  // panels that one product works on
  const int64_t panels = n / kPanel, strips = (panels + kStrip - 1) / kStrip;
  blocks.split_work(points * strips, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t point = unit / strips, panel = unit % strips * kStrip;
      panel_gemm(c + point * matrix(m, n) + panel * m * kPanel, a + point * matrix(m, k), ta,
                 b + point * matrix(k, n) + panel * k * kPanel, m, std::min(kStrip, panels - panel), k, accumulate);
    }
  });
}

}  // namespace pleat
