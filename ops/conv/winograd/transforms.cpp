// Layout: pixels are lists of pointers to NHWC channels, points are panels of 16 channels (TilePoints).
//
// Loops: one tile at a time; eight channels of it at a time; for these a map is applied to the columns and then to the
// rows of the tile, all of whose values are in registers.
#include "ops/conv/winograd/transforms.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/simd.hpp"
#include "ops/conv/gemm/panel_gemm.hpp"
#include "ops/conv/winograd/maps.hpp"

namespace pleat {
namespace {

// Eight channels at once: a register of AVX2, where twice as many would go through memory, and as fast with AVX-512.
constexpr int64_t kWidth = 8;
using Channels = Vec<float, kWidth>;

template <int n>
using Values = Channels[n];

// A 2x2 picture in a border of zeros, y[0] = g[1] d[0] + g[2] d[1] and y[1] = g[0] d[0] + g[1] d[1], by Karatsuba's
// three products instead of four: g[1] (d[0] + d[1]), (g[2] - g[1]) d[1] and (g[0] - g[1]) d[0].
struct Padded2x2 {
  static constexpr int kOutputs = 2, kInputs = 2, kPoints = 3, kBorder = 1;
  static PLEAT_INLINE void input(Values<3>& v, const Values<2>& d) {
    v[0] = d[0] + d[1];
    v[1] = d[1];
    v[2] = d[0];
  }
  static PLEAT_INLINE void output(Values<2>& y, const Values<3>& m) {
    y[0] = m[0] + m[1];
    y[1] = m[0] + m[2];
  }
  static PLEAT_INLINE void gradient(Values<3>& v, const Values<2>& y) {
    v[0] = y[0] + y[1];
    v[1] = y[0];
    v[2] = y[1];
  }
  static PLEAT_INLINE void weight(Values<3>& u, const Values<3>& g) {
    u[0] = g[1];
    u[1] = g[2] - g[1];
    u[2] = g[0] - g[1];
  }
  static PLEAT_INLINE void weight_gradient(Values<3>& g, const Values<3>& u) {
    g[0] = u[2];
    g[1] = u[0] - u[1] - u[2];
    g[2] = u[1];
  }
};

// Evaluated at 0, a, -a, b, -b and infinity with a = 1/sqrt(2), b = sqrt(2): errors are a fifth of those with the usual
// 1 and 2, whose powers spread further.
struct F4x4 {
  static constexpr int kOutputs = 4, kInputs = 6, kPoints = 6, kBorder = 0;
  static constexpr float kA = 0.70710678118654752440f, kB = 1.41421356237309504880f;
  static constexpr float kA2 = 0.5f, kB2 = 2.0f;                   // squares; a^2 b^2 = 1
  static constexpr float kScaleA = -1 / 1.5f, kScaleB = 1 / 6.0f;  // 1 / (2 a^2 (a^2 - b^2)) and the other way round
  static PLEAT_INLINE void input(Values<6>& v, const Values<6>& d) {
    const Channels even_a = d[4] - kB2 * d[2], odd_a = kA * (d[3] - kB2 * d[1]);
    const Channels even_b = d[4] - kA2 * d[2], odd_b = kB * (d[3] - kA2 * d[1]);
    v[0] = d[0] + d[4] - (kA2 + kB2) * d[2];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = d[1] + d[5] - (kA2 + kB2) * d[3];
  }
  static PLEAT_INLINE void output(Values<4>& y, const Values<6>& m) {
    const Channels even_a = m[1] + m[2], odd_a = kA * (m[1] - m[2]);
    const Channels even_b = m[3] + m[4], odd_b = kB * (m[3] - m[4]);
    y[0] = m[0] + even_a + even_b;
    y[1] = odd_a + odd_b;
    y[2] = kA2 * even_a + kB2 * even_b;
    y[3] = m[5] + kA2 * odd_a + kB2 * odd_b;
  }
  static PLEAT_INLINE void gradient(Values<6>& v, const Values<4>& y) {
    const Channels even_a = y[0] + kA2 * y[2], odd_a = kA * (y[1] + kA2 * y[3]);
    const Channels even_b = y[0] + kB2 * y[2], odd_b = kB * (y[1] + kB2 * y[3]);
    v[0] = y[0];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = y[3];
  }
  static PLEAT_INLINE void weight(Values<6>& u, const Values<3>& g) {
    const Channels even_a = kScaleA * (g[0] + kA2 * g[2]), odd_a = kScaleA * kA * g[1];
    const Channels even_b = kScaleB * (g[0] + kB2 * g[2]), odd_b = kScaleB * kB * g[1];
    u[0] = g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
  static PLEAT_INLINE void weight_gradient(Values<3>& g, const Values<6>& u) {
    const Channels even_a = kScaleA * (u[1] + u[2]), odd_a = kScaleA * kA * (u[1] - u[2]);
    const Channels even_b = kScaleB * (u[3] + u[4]), odd_b = kScaleB * kB * (u[3] - u[4]);
    g[0] = u[0] + even_a + even_b;
    g[1] = odd_a + odd_b;
    g[2] = u[5] + kA2 * even_a + kB2 * even_b;
  }
};

// Calls body(first channel, n) for every eight channels up to a whole panel, of which n are there; n is a constant in
// all but the last, so that the compiler sees through it.
template <class Body>
PLEAT_INLINE inline void for_channels(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) body(c, kWidth);
  for (; c % kPanel != 0 || c < channels; c += kWidth) body(c, std::max(channels - c, int64_t{0}));
}

PLEAT_INLINE inline float* at(const TilePoints& points, int64_t channel) {
  return points.data + channel / kPanel * points.panel + channel % kPanel;
}

// B^T or A from pixels to points.
template <class Isa, int kTo, int kFrom, class T>
PLEAT_INLINE inline void to_points(void (*map)(Values<kTo>&, const Values<kFrom>&), const TilePoints& points,
                                   const T* const* pixels, int64_t channels) {
  for_channels(channels, [&](int64_t c, int64_t n) PLEAT_INLINE {
    float* to = at(points, c);
    const auto fetch = [&](Channels& value, int row, int column)
                           PLEAT_INLINE { load<Isa>(value, pixels[row * kFrom + column] + c, n); };
    const auto put = [&](int row, int column, const Channels& value)
                         PLEAT_INLINE { store(to + (row * kTo + column) * points.point, value); };
    map_tile<kTo, kFrom, Channels>(map, fetch, put);
  });
}

// A^T from points to pixels.
template <class Isa, class F, class T>
PLEAT_INLINE inline void to_pixels(T* const* pixels, const TilePoints& m, const Epilogue& epilogue, int64_t channels) {
  for_channels(channels, [&](int64_t c, int64_t n) PLEAT_INLINE {
    const float* from = at(m, c);
    Channels offset{};
    if (epilogue.bias != nullptr) load(offset, epilogue.bias + c, n);
    const auto fetch = [&](Channels& value, int row, int column)
                           PLEAT_INLINE { load(value, from + (row * F::kPoints + column) * m.point); };
    const auto put = [&](int row, int column, const Channels& value) PLEAT_INLINE {
      T* to = pixels[row * F::kOutputs + column];
      if (to == nullptr) return;
      Channels sum = value + offset;
      if (epilogue.adds) {
        Channels before;
        load<Isa>(before, to + c, n);
        sum += before;
      }
      activate(sum, epilogue.act);
      store<Isa>(to + c, sum, n);
    };
    map_tile<F::kOutputs, F::kPoints, Channels>(F::output, fetch, put);
  });
}

// The maps of whole tiles, compiled for every instruction set that has tile kernels.
template <class F, class T>
void input(const TilePoints& v, const T* const* pixels, int64_t channels) {
  dispatch_tiles<T>([&]<class Isa>(Isa)
                        PLEAT_INLINE { to_points<Isa, F::kPoints, F::kInputs>(F::input, v, pixels, channels); });
}

template <class F, class T>
void gradient(const TilePoints& v, const T* const* pixels, int64_t channels) {
  dispatch_tiles<T>([&]<class Isa>(Isa)
                        PLEAT_INLINE { to_points<Isa, F::kPoints, F::kOutputs>(F::gradient, v, pixels, channels); });
}

template <class F, class T>
void output(T* const* pixels, const TilePoints& m, const Epilogue& epilogue, int64_t channels) {
  dispatch_tiles<T>([&]<class Isa>(Isa) PLEAT_INLINE { to_pixels<Isa, F>(pixels, m, epilogue, channels); });
}

template <class F>
void weight(float* u, int64_t point, const Filters<const float>& filters, bool rotated) {
  float taps[9][kPanel] = {};
  for (int64_t l = 0; l < filters.count; ++l)
    for (int t = 0; t < 9; ++t) taps[t][l] = filters.data[l * filters.filter + (rotated ? 8 - t : t)];
  dispatch_tiles<float>([&](auto) PLEAT_INLINE {
    for (int64_t l = 0; l < kPanel; l += kWidth) {
      const auto fetch = [&](Channels& value, int row, int column)
                             PLEAT_INLINE { load(value, taps[row * 3 + column] + l); };
      const auto put = [&](int row, int column, const Channels& value)
                           PLEAT_INLINE { store(u + (row * F::kPoints + column) * point + l, value); };
      map_tile<F::kPoints, 3, Channels>(F::weight, fetch, put);
    }
  });
}

template <class F>
void weight_gradient(const Filters<float>& filters, const float* du, int64_t point) {
  float taps[9][kPanel];
  dispatch_tiles<float>([&](auto) PLEAT_INLINE {
    for (int64_t l = 0; l < kPanel; l += kWidth) {
      const auto fetch = [&](Channels& value, int row, int column)
                             PLEAT_INLINE { load(value, du + (row * F::kPoints + column) * point + l); };
      const auto put = [&](int row, int column, const Channels& value)
                           PLEAT_INLINE { store(taps[row * 3 + column] + l, value); };
      map_tile<3, F::kPoints, Channels>(F::weight_gradient, fetch, put);
    }
  });
  for (int64_t l = 0; l < filters.count; ++l)
    for (int t = 0; t < 9; ++t) filters.data[l * filters.filter + t] += taps[t][l];
}

void check_outputs(int outputs) {
  PLEAT_CHECK(outputs == 2 || outputs == 4, "conv2d (Winograd): tiles of ", outputs, "x", outputs,
              " outputs, expected 2x2 or 4x4");
}

template <class F, class T>
WinogradTransforms<T> transforms() {
  return {F::kOutputs, F::kInputs, F::kPoints, F::kBorder, input<F, T>, output<F, T>, weight<F>};
}
template <class F, class T>
WinogradGradients<T> gradients() {
  return {gradient<F, T>, weight_gradient<F>};
}

}  // namespace

template <class T>
WinogradTransforms<T> winograd_transforms(int outputs, bool are_padded_2x2) {
  check_outputs(outputs);
  if (outputs == 4) return transforms<F4x4, T>();
  return are_padded_2x2 ? transforms<Padded2x2, T>() : transforms<F2x2, T>();
}

template <class T>
WinogradGradients<T> winograd_gradients(int outputs, bool are_padded_2x2) {
  check_outputs(outputs);
  if (outputs == 4) return gradients<F4x4, T>();
  return are_padded_2x2 ? gradients<Padded2x2, T>() : gradients<F2x2, T>();
}

#define PLEAT_INSTANTIATE(T)                                     \
  template WinogradTransforms<T> winograd_transforms(int, bool); \
  template WinogradGradients<T> winograd_gradients(int, bool);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
