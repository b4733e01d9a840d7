// Layout: all three matrices are in panels of 16 columns, [panel][row][16], so that nothing needs packing.
//
// Loops: strips of panels of c, as many at once as registers hold sums for; tiles of rows; k. A tile's sums stay in
// registers over all of k: at each step a row of b's panels is loaded and multiplied with one element of each row of a.
#include "ops/conv/gemm/panel_gemm.hpp"

#include "core/simd/simd.hpp"

namespace pleat {
namespace {

// A tile of c and what it is made from, with distances in floats.
struct RegisterTile {
  float* c;
  const float *a, *b;
  int64_t k, a_step, b_panel, c_panel;  // a_step: from 16 columns of a (rows, if transposed) to the next
  bool accumulate;
};

// One tile of kRows rows and kPanels panels, summed in registers of type V. kRow and kColumn are the distances in `a`
// from row to row and from column to column.
template <class V, int kRows, int kPanels, int kRow, int kColumn>
PLEAT_INLINE inline void multiply_tile(RegisterTile s) {
  constexpr int kWidth = kWidthOf<V>, kVectors = kPanels * kPanel / kWidth;
  const auto panel = [](int vector) { return vector * kWidth / kPanel; };
  const auto column = [](int vector) { return vector * kWidth % kPanel; };
  V sum[kRows][kVectors] = {};
  for (int64_t left = s.k; left > 0; left -= kPanel, s.a += s.a_step, s.b += kPanel * kPanel) {
#pragma GCC unroll 4
    for (int k = 0; k < kPanel; ++k) {
      V b[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) load(b[v], s.b + panel(v) * s.b_panel + k * kPanel + column(v));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const float a = s.a[r * kRow + k * kColumn];
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) sum[r][v] += a * b[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      float* c = s.c + panel(v) * s.c_panel + r * kPanel + column(v);
      V before{};
      if (s.accumulate) load(before, c);
      const V after = before + sum[r][v];
      store(c, after);
    }
}

// All m rows of kPanels panels of c.
template <class V, int kRows, int kPanels>
PLEAT_INLINE inline void multiply_strip(RegisterTile s, Transpose ta, int64_t m) {
  const float* a = s.a;
  for (int64_t row = 0; row < m; row += kRows, s.c += kRows * kPanel) {
    if (ta == Transpose::no) {
      s.a = a + row * kPanel;
      multiply_tile<V, kRows, kPanels, kPanel, 1>(s);
    } else {
      s.a = a + row / kPanel * s.k * kPanel + row % kPanel;
      multiply_tile<V, kRows, kPanels, 1, kPanel>(s);
    }
  }
}

// As many strips of kPanels panels as there are; leaves the rest.
template <class V, int kRows, int kPanels>
PLEAT_INLINE inline void multiply_strips(RegisterTile& s, Transpose ta, int64_t m, int64_t& panels) {
  for (; panels >= kPanels; panels -= kPanels, s.b += kPanels * s.b_panel, s.c += kPanels * s.c_panel)
    multiply_strip<V, kRows, kPanels>(s, ta, m);
}

}  // namespace

void panel_gemm(float* c, const float* a, Transpose ta, const float* b, int64_t m, int64_t panels, int64_t k,
                bool accumulate) {
  const RegisterTile first{c, a, b, k, (ta == Transpose::no ? m : kPanel) * kPanel, k * kPanel, m * kPanel, accumulate};
  dispatch_tiles<float>([&]<class Isa>(Isa) PLEAT_INLINE {
    using V = Vec<float, Isa::kBytes / sizeof(float)>;
    RegisterTile s = first;
    int64_t left = panels;
    // Sixteen sums fit 32 registers and hide the latency of their multiply-adds.
    if constexpr (Isa::kRegisters >= 32) {
      multiply_strips<V, 4, 4>(s, ta, m, left);
      multiply_strips<V, 8, 2>(s, ta, m, left);
      multiply_strips<V, 16, 1>(s, ta, m, left);
    } else {
      multiply_strips<V, 4, 1>(s, ta, m, left);
    }
  });
}

}  // namespace pleat
