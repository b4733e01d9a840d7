// Layout: both operands are pixels of channels, [pixels][channels], or for bfloat16 pairs of pixels interleaved; the
// sums are [rows' channels][lanes' channels].
//
// Loops: up to three registers of lanes; 8 rows (4 with AVX2); all pixels. A tile's sums stay in registers while the
// pixels pass by: for each pixel the lanes are loaded once and multiplied with each row's element.
#include "ops/conv/gemm/outer_product.hpp"

#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/conv/gemm/lane_product.hpp"

namespace pleat {
namespace {

// A tile of kRows times kVectors of lanes, its sums in registers while all pixels pass by.
template <class Isa, int kRows, int kVectors, class T>
PLEAT_INLINE inline void add_tile(float* sums, const Operand<T>& rows, const Operand<T>& lanes, int64_t pixels) {
  using V = Vec<float, Isa::kBytes / sizeof(float)>;
  constexpr int64_t kWidth = kWidthOf<V>, kStep = kLaneWeights<T>;
  const int64_t all_lanes = lanes.channels, next_row = rows.channels * kStep, next_lane = lanes.channels * kStep;
  const T *a = rows.data, *b = lanes.data;
  V sum[kRows * kVectors];
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(v, kVectors) load(sum[r * kVectors + v], sums + r * all_lanes + v * kWidth);
  for (int64_t p = 0; p < pixels; p += kStep, a += next_row, b += next_lane) {
    V w[kVectors];
    PLEAT_UNROLLED(v, kVectors) std::memcpy(&w[v], b + v * kWidth * kStep, Isa::kBytes);
    PLEAT_UNROLLED(r, kRows) {
      const auto factor = spread<V>(a + r * kStep);
      PLEAT_UNROLLED(v, kVectors) multiply_add<Isa>(sum[r * kVectors + v], factor, w[v]);
    }
  }
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(v, kVectors) store(sums + r * all_lanes + v * kWidth, sum[r * kVectors + v]);
}

PLEAT_INLINE inline void interleave_part(uint32_t* __restrict to, const Bf16* __restrict first,
                                         const Bf16* __restrict second, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = first[i].bits | static_cast<uint32_t>(second[i].bits) << 16;
}

}  // namespace

template <class T>
void add_outer_product(float* sums, const Operand<T>& rows, const Operand<T>& lanes, int64_t pixels) {
  dispatch_tiles<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    constexpr int64_t kWidth = Isa::kBytes / sizeof(float), kRows = Isa::kRegisters >= 32 ? 8 : 4;
    int64_t lane = 0;
    const auto columns = [&](auto vectors) PLEAT_INLINE {
      for (int64_t row = 0; row < rows.channels; row += kRows)
        add_tile<Isa, kRows, vectors>(sums + row * lanes.channels + lane,
                                      Operand<T>{rows.data + row * kLaneWeights<T>, rows.channels},
                                      Operand<T>{lanes.data + lane * kLaneWeights<T>, lanes.channels}, pixels);
      lane += vectors * kWidth;
    };
    while (lane + 3 * kWidth <= lanes.channels) columns(std::integral_constant<int, 3>());
    if (lane + 2 * kWidth <= lanes.channels) columns(std::integral_constant<int, 2>());
    if (lane < lanes.channels) columns(std::integral_constant<int, 1>());
  });
}

template void add_outer_product(float*, const Operand<float>&, const Operand<float>&, int64_t);
template void add_outer_product(float*, const Operand<Bf16>&, const Operand<Bf16>&, int64_t);

void interleave(Bf16* to, const Bf16* first, const Bf16* second, int64_t channels) {
  dispatch([&](auto) PLEAT_INLINE { interleave_part(reinterpret_cast<uint32_t*>(to), first, second, channels); });
}

}  // namespace pleat
