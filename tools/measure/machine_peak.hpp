// What this machine can do at best, measured: the yardstick of profiles. Free of BLAS: pleat-run uses it too.
#pragma once

#include <ostream>

#include "core/simd/bf16.hpp"

namespace pleat {

/// GFLOP/s of one large 1x1 convolution, GB/s read and written by a copy of more than any cache holds.
struct Peak {
  double gflops = 0, gbytes = 0;
};

/// Takes a fraction of a second. Throws as Engine does, for bf16 on a CPU without it.
Peak measure_peak(Dtype dtype);

/// "peak: 280 GFLOP/s (a large convolution), 21.3 GB/s (a copy)".
std::ostream& operator<<(std::ostream& out, const Peak& peak);

}  // namespace pleat
