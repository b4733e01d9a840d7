// Matrix products on panels: a matrix of r rows and c columns stored as [c/16][r][16], so that a row of a panel is one
// cache line and one AVX-512 register. What is stored so needs no packing, which is what a general product spends its
// time on when matrices are small.
#pragma once

#include <cstdint>

#include "ops/conv/gemm/gemm.hpp"

namespace pleat {

/// Columns of a panel.
inline constexpr int64_t kPanel = 16;

/// c = a b, or c += a b if `accumulate`. In panels, `a` is [m,k] ([k,m] if transposed), `b` [k, panels*16] and `c`
/// [m, panels*16]; m and k are multiples of 16. Buffers are aligned to 64 bytes. Runs on the calling thread alone,
/// which must have AVX2.
void panel_gemm(float* c, const float* a, Transpose ta, const float* b, int64_t m, int64_t panels, int64_t k,
                bool accumulate);

}  // namespace pleat
