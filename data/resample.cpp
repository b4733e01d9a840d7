#include "data/resample.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/simd/simd.hpp"

namespace pleat {
namespace {

// Weights are fixed-point numbers with as many fraction bits as in Pillow; with these, a sum of bytes times weights
// fits 32 bits.
constexpr int kWeightBits = 22;
constexpr int32_t kHalf = 1 << (kWeightBits - 1);  // added to a sum before the shift, it rounds to nearest

PLEAT_INLINE inline uint8_t to_byte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

// The input positions that one output position reads.
struct Taps {
  int first, count;
};
// A one-dimensional filter: the input positions and the weights of each output position.
struct Filter {
  std::vector<Taps> taps;
  std::vector<int32_t> weights;  // `stride` numbers for each output position, of which it uses `count`
  int stride;
};

double triangle(double x) {
  return std::max(0.0, 1 - std::abs(x));
}

// The cubic convolution kernel of Keys 1981 with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// The filter for output positions [begin, begin + n) when `in` input positions, of which the first is `start`, are
// scaled to `out` output positions.
Filter make_filter(int start, int in, int out, int begin, int n, Interpolation interpolation) {
  const auto kernel = interpolation == Interpolation::bilinear ? triangle : cubic;
  const double scale = static_cast<double>(in) / out, filter_scale = std::max(scale, 1.0);
  const double support = (interpolation == Interpolation::bilinear ? 1 : 2) * filter_scale, inverse = 1 / filter_scale;
  Filter filter;
  filter.stride = 2 * static_cast<int>(std::ceil(support)) + 1;
  filter.weights.assign(static_cast<std::size_t>(n) * filter.stride, 0);
  std::vector<double> weights(filter.stride);
  for (int o = 0; o < n; ++o) {
    const double centre = (begin + o + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int count = std::min(in, static_cast<int>(centre + support + 0.5)) - first;
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += weights[i] = kernel((i + first - centre + 0.5) * inverse);
    for (int i = 0; i < count; ++i) {
      const double weight = weights[i] / sum * (1 << kWeightBits);
      filter.weights[static_cast<std::size_t>(o) * filter.stride + i] =
          static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    filter.taps.push_back({start + first, count});
  }
  return filter;
}

// Filters one row of colour pixels horizontally. Input pixels have four bytes, output pixels three.
PLEAT_INLINE inline void filter_colours(uint8_t* __restrict out, const uint8_t* __restrict in, const Taps* taps,
                                        const int32_t* weights, int stride, int64_t n) {
  for (int64_t o = 0; o < n; ++o) {
    Vec<int32_t, 4> sum = {kHalf, kHalf, kHalf, kHalf};
    const uint8_t* const first = in + int64_t{taps[o].first} * 4;
    for (int t = 0; t < taps[o].count; ++t) {
      Vec<uint8_t, 4> pixel;
      load(pixel, first + 4 * t);
      sum += __builtin_convertvector(pixel, Vec<int32_t, 4>) * weights[o * stride + t];
    }
    for (int c = 0; c < 3; ++c) out[3 * o + c] = to_byte(sum[c]);
  }
}

// Filters one row horizontally, for pixels of `step` bytes of which the first `channels` are used.
void filter_pixels(uint8_t* out, const uint8_t* in, const Filter& filter, int step, int channels) {
  for (std::size_t o = 0; o < filter.taps.size(); ++o)
    for (int c = 0; c < channels; ++c) {
      int32_t sum = kHalf;
      for (int t = 0; t < filter.taps[o].count; ++t)
        sum += in[int64_t{filter.taps[o].first + t} * step + c] * filter.weights[o * filter.stride + t];
      *out++ = to_byte(sum);
    }
}

// Filters vertically: one output row from `count` consecutive input rows of n bytes. `sums` has room for n numbers.
PLEAT_INLINE inline void mix_rows(uint8_t* __restrict out, const uint8_t* __restrict in,
                                  const int32_t* __restrict weights, int count, int64_t n, int32_t* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] = kHalf;
  for (int t = 0; t < count; ++t)
    for (int64_t i = 0; i < n; ++i) sums[i] += in[t * n + i] * weights[t];
  for (int64_t i = 0; i < n; ++i) out[i] = to_byte(sums[i]);
}

void check_within(const Box& part, int height, int width, const char* what) {
  PLEAT_CHECK(part.top >= 0 && part.left >= 0 && part.height >= 1 && part.width >= 1 &&
                  part.height <= height - part.top && part.width <= width - part.left,
              "resample: the ", what, " is ", part.height, "x", part.width, " pixels at row ", part.top, ", column ",
              part.left, ", expected to be inside ", height, "x", width);
}

}  // namespace

void resample(std::span<uint8_t> out, const Pixels& picture, int channels, const View& view,
              Interpolation interpolation) {
  const Box &box = view.box, &window = view.window;
  for (int side : {picture.height, picture.width})
    PLEAT_CHECK(side >= 1 && side <= kMaxSide, "resample: a side of the picture is ", side, " pixels, expected 1 to ",
                kMaxSide);
  check_within(box, picture.height, picture.width, "box");
  check_within(window, view.height, view.width, "window");
  PLEAT_CHECK(channels >= 1 && channels <= picture.step &&
                  static_cast<int64_t>(picture.bytes.size()) == int64_t{picture.height} * picture.width * picture.step,
              "resample: got ", picture.bytes.size(), " bytes for ", channels, " channels, expected ", picture.height,
              "x", picture.width, "x", picture.step);
  const int64_t row = int64_t{window.width} * channels, picture_row = int64_t{picture.width} * picture.step;
  PLEAT_CHECK(static_cast<int64_t>(out.size()) == window.height * row, "resample: room for ", out.size(),
              " bytes, expected ", window.height, "x", window.width, "x", channels);

  // Horizontally first, in the rows that the vertical filter needs, then vertically.
  const Filter across = make_filter(box.left, box.width, view.width, window.left, window.width, interpolation);
  const Filter down = make_filter(box.top, box.height, view.height, window.top, window.height, interpolation);
  const int first = down.taps.front().first, last = down.taps.back().first + down.taps.back().count;
  std::vector<uint8_t> wide((last - first) * row);
  for (int y = first; y < last; ++y) {
    const uint8_t* const in = picture.bytes.data() + y * picture_row;
    uint8_t* const row_out = wide.data() + (y - first) * row;
    if (picture.step == 4 && channels == 3)
      dispatch([&](auto) PLEAT_INLINE {
        filter_colours(row_out, in, across.taps.data(), across.weights.data(), across.stride, window.width);
      });
    else
      filter_pixels(row_out, in, across, picture.step, channels);
  }
  std::vector<int32_t> sums(row);
  for (int y = 0; y < window.height; ++y)
    dispatch([&](auto) PLEAT_INLINE {
      mix_rows(out.data() + y * row, wide.data() + (down.taps[y].first - first) * row,
               down.weights.data() + int64_t{y} * down.stride, down.taps[y].count, row, sums.data());
    });
}

}  // namespace pleat
