#include "ops/conv/convolution.hpp"

#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {

void check_sizes(const char* op, const ConvolutionSizes& got, const ConvolutionSizes& expected) {
  check_size(op, "x", got.x, expected.x);
  check_size(op, "y", got.y, expected.y);
  check_size(op, "weight", got.weight, expected.weight);
  if (got.bias != 0) check_size(op, "bias", got.bias, expected.bias);
  PLEAT_CHECK(got.workspace >= expected.workspace, op, ": workspace has ", got.workspace, " elements, needs ",
              expected.workspace, " with ", num_threads(), " threads");
}

namespace {

template <class T>
PLEAT_INLINE inline void add(compute_t<T>* __restrict sum, const T* __restrict values, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < n; ++i) sum[i] += values[row * n + i];
}

}  // namespace

template <class T>
void add_rows(compute_t<T>* sum, const T* values, int64_t rows, int64_t n) {
  dispatch([&](auto) PLEAT_INLINE { add(sum, values, rows, n); });
}

template void add_rows(float*, const float*, int64_t, int64_t);
template void add_rows(double*, const double*, int64_t, int64_t);
template void add_rows(float*, const Bf16*, int64_t, int64_t);

}  // namespace pleat
