// What our own convolutions share (private to them).
#pragma once

#include <cstdint>

#include "core/bf16.hpp"

namespace pleat {

/// Elements of a convolution's buffers, or of their gradients. No bias: 0.
struct ConvolutionSizes {
  int64_t x, y, weight, bias, workspace;
};

/// Throws std::invalid_argument, naming `op` and the buffer, unless `got` is what is `expected`; the workspace may be
/// larger, the bias missing.
void check_sizes(const char* op, const ConvolutionSizes& got, const ConvolutionSizes& expected);

/// sum[n] += each of the rows of values [rows, n].
template <class T>
void add_rows(compute_t<T>* sum, const T* values, int64_t rows, int64_t n);

}  // namespace pleat
