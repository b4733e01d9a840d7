// How Winograd's convolution cuts pictures into tiles, and tiles into blocks (private to ops/winograd.cpp).
#pragma once

#include <cstdint>

#include "core/parallel.hpp"
#include "core/tensor.hpp"

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

/// How threads share the work: `parts` threads have blocks of `tiles` of their own, or, if that is 1, all threads work
/// on the same block.
struct Blocks {
  int64_t tiles;
  int parts;

  /// Runs body(first tile, part, is it the part's first block) for every block.
  template <class Body>
  void for_each(const Tiling& tiling, const Body& body) const {
    const int64_t blocks = (tiling.tiles() + tiles - 1) / tiles;
    parallel_for(parts, [&](int64_t begin, int64_t end, int) {
      for (int64_t part = begin; part < end; ++part) {
        const Range range = split(blocks, static_cast<int>(part), parts);
        for (int64_t block = range.begin; block < range.end; ++block) body(block * tiles, part, block == range.begin);
      }
    });
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

}  // namespace pleat
