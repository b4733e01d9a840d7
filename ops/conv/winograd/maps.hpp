// The maps of F(2x2,3x3) in one dimension, of vectors V whose every lane is a channel: what
// ops/conv/winograd/transforms.hpp calls A^T, B^T and G. Polynomials are evaluated at 0, 1, -1 and infinity. Private to
// ops/conv/winograd/transforms.cpp and ops/conv/winograd/winograd_bf16.cpp.
#pragma once

namespace pleat {

struct F2x2 {
  static constexpr int kOutputs = 2, kInputs = 4, kPoints = 4, kBorder = 0;
  template <class V>
  PLEAT_INLINE static void input(V (&v)[4], const V (&d)[4]) {
    v[0] = d[0] - d[2];
    v[1] = d[2] + d[1];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  template <class V>
  PLEAT_INLINE static void output(V (&y)[2], const V (&m)[4]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = m[3] + (m[1] - m[2]);
  }
  template <class V>
  PLEAT_INLINE static void gradient(V (&v)[4], const V (&y)[2]) {
    v[0] = y[0];
    v[1] = y[0] + y[1];
    v[2] = y[0] - y[1];
    v[3] = y[1];
  }
  template <class V>
  PLEAT_INLINE static void weight(V (&u)[4], const V (&g)[3]) {
    const V even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  template <class V>
  PLEAT_INLINE static void weight_gradient(V (&g)[3], const V (&u)[4]) {
    const V even = 0.5f * (u[1] + u[2]);
    g[0] = u[0] + even;
    g[1] = 0.5f * (u[1] - u[2]);
    g[2] = u[3] + even;
  }
};

// Applies `map`, from kFrom to kTo values, to columns and then to rows: fetch(value, row, column) gets each value,
// put(row, column, value) takes the results.
template <int kTo, int kFrom, class V, class Fetch, class Put>
PLEAT_INLINE inline void map_tile(void (*map)(V (&)[kTo], const V (&)[kFrom]), const Fetch& fetch, const Put& put) {
  V half[kTo][kFrom];
  for (int column = 0; column < kFrom; ++column) {
    V from[kFrom], to[kTo];
    for (int row = 0; row < kFrom; ++row) fetch(from[row], row, column);
    map(to, from);
    for (int row = 0; row < kTo; ++row) half[row][column] = to[row];
  }
  for (int row = 0; row < kTo; ++row) {
    V to[kTo];
    map(to, half[row]);
    for (int column = 0; column < kTo; ++column) put(row, column, to[column]);
  }
}

}  // namespace pleat
