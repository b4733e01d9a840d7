// Measures the peak speed of this machine, with which profiles compare. This code is also part of pleat-run, so it must
// not need BLAS.
#pragma once

#include <ostream>

#include "core/simd/bf16.hpp"

namespace pleat {

/// The GFLOP/s of a large 1x1 convolution, and the GB/s, read and written together, of copying more than the caches
/// hold.
struct Peak {
  double gflops = 0, gbytes = 0;
};

/// Measures both in a fraction of a second. Throws like Engine for bf16 on a CPU that does not have it.
Peak measure_peak(Dtype dtype);

/// Prints, for example, "peak: 280 GFLOP/s (a large convolution), 21.3 GB/s (a copy)".
std::ostream& operator<<(std::ostream& out, const Peak& peak);

}  // namespace pleat
