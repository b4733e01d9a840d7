// How a convolution or pooling is cut into slices, one or more for each thread. Each thread calls oneDNN for slices of
// its own, because oneDNN alone would share the work among OpenMP's threads (core/parallel.hpp says what is wrong with
// that). A slice is some whole pictures or, where there are fewer pictures than threads, some rows of one picture.
// Private: included by .cpp files alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/onednn.hpp"

namespace pleat::onednn {

/// A smaller convolution or pooling, whose input and output are contiguous parts of the whole one's (NHWC).
struct Slice {
  Nhwc x, y;
  Padding pad;
  int64_t x_offset, y_offset;  ///< Where they begin in the whole ones, in elements.

  /// Whether one primitive can compute both.
  bool is_like(const Slice& other) const { return x == other.x && y == other.y && pad == other.pad; }
};

namespace detail {

/// The number of bands of rows into which each picture is cut so that all threads have work.
inline int64_t bands(const Nhwc& shape, int threads) {
  return shape.n >= threads ? 1 : std::min<int64_t>(shape.h, (threads + shape.n - 1) / shape.n);
}

inline std::vector<Slice> of_pictures(const Nhwc& x, const Nhwc& y, const Padding& pad, int threads) {
  std::vector<Slice> slices;
  const int parts = static_cast<int>(std::min<int64_t>(x.n, threads));
  for (int part = 0; part < parts; ++part) {
    const Range pictures = split(x.n, part, parts);
    Slice slice{x, y, pad, pictures.begin * x.h * x.w * x.c, pictures.begin * y.h * y.w * y.c};
    slice.x.n = slice.y.n = pictures.end - pictures.begin;
    slices.push_back(slice);
  }
  return slices;
}

// Slices of rows. band(i, slice, x_row, y_row) sets the rows and the padding of band i of a picture, and the first rows
// of x and y that belong to it. If a band would see no rows, the slices are whole pictures.
template <class Band>
std::vector<Slice> of_rows(const Nhwc& x, const Nhwc& y, const Padding& pad, int64_t bands, int threads,
                           const Band& band) {
  if (bands == 1) return of_pictures(x, y, pad, threads);
  std::vector<Slice> slices;
  for (int64_t picture = 0; picture < x.n; ++picture)
    for (int i = 0; i < bands; ++i) {
      Slice slice{x, y, pad, 0, 0};
      int64_t x_row = 0, y_row = 0;
      band(i, slice, x_row, y_row);
      if (slice.x.h < 1 || slice.y.h < 1) return of_pictures(x, y, pad, threads);
      slice.x.n = slice.y.n = 1;
      slice.x_offset = (picture * x.h + x_row) * x.w * x.c;
      slice.y_offset = (picture * y.h + y_row) * y.w * y.c;
      slices.push_back(slice);
    }
  return slices;
}

}  // namespace detail

/// Slices of the output, each with the rows of the input that it needs. They are for a forward pass, and for the
/// gradient of the weights, which is the sum of what the slices give.
inline std::vector<Slice> output_slices(const Nhwc& x, const Nhwc& y, int kernel, int stride, const Padding& pad,
                                        int threads) {
  // A window that sees nothing but padding has no rows to be given.
  const bool sees_rows = pad.top < kernel && pad.bottom < kernel;
  const int64_t bands = sees_rows ? detail::bands(y, threads) : 1;
  return detail::of_rows(x, y, pad, bands, threads, [&](int i, Slice& slice, int64_t& x_row, int64_t& y_row) {
    const Range rows = split(y.h, i, static_cast<int>(bands));
    const int64_t first = rows.begin * stride - pad.top, last = (rows.end - 1) * stride - pad.top + kernel - 1;
    y_row = rows.begin;
    x_row = std::max<int64_t>(first, 0);
    slice.y.h = rows.end - rows.begin;
    slice.x.h = std::min(last, x.h - 1) - x_row + 1;
    slice.pad.top = static_cast<int>(x_row - first);
    slice.pad.bottom = static_cast<int>(std::max<int64_t>(last - (x.h - 1), 0));
  });
}

/// Slices of the input, each with the rows of the output to which it contributes. They are for the gradient of the
/// input. With a stride beyond the kernel's size some rows contribute to nothing; pictures are then never cut into
/// rows.
inline std::vector<Slice> input_slices(const Nhwc& x, const Nhwc& y, int kernel, int stride, const Padding& pad,
                                       int threads) {
  const int64_t bands = stride <= kernel ? detail::bands(x, threads) : 1;
  return detail::of_rows(x, y, pad, bands, threads, [&](int i, Slice& slice, int64_t& x_row, int64_t& y_row) {
    const Range rows = split(x.h, i, static_cast<int>(bands));
    const int64_t reach = rows.begin + pad.top - kernel + 1;  // of the first window that ends at or after the first row
    const int64_t first = std::max<int64_t>(reach + stride - 1, 0) / stride;
    const int64_t last = std::min((rows.end - 1 + pad.top) / stride, y.h - 1);
    x_row = rows.begin;
    y_row = first;
    slice.x.h = rows.end - rows.begin;
    slice.y.h = last - first + 1;
    slice.pad.top = static_cast<int>(rows.begin + pad.top - first * stride);
    slice.pad.bottom = static_cast<int>(std::max<int64_t>(last * stride - pad.top + kernel - rows.end, 0));
  });
}

}  // namespace pleat::onednn
