// What convolutions share (private to them).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/check.hpp"
#include "core/simd/bf16.hpp"

namespace pleat {

/// Throws std::invalid_argument, naming `op` and the buffer, unless `got` elements are what is `expected`.
inline void check_size(const char* op, const char* buffer, std::size_t got, int64_t expected) {
  PLEAT_CHECK(static_cast<int64_t>(got) == expected, op, ": ", buffer, " has ", got, " elements, expected ", expected);
}

/// Elements of a convolution's buffers, or of their gradients. No bias: 0.
struct ConvolutionSizes {
  int64_t x, y, weight, bias, workspace;
};

/// The same for all of them; the workspace may be larger, the bias missing.
void check_sizes(const char* op, const ConvolutionSizes& got, const ConvolutionSizes& expected);

/// sum[n] += each of the rows of values [rows, n].
template <class T>
void add_rows(compute_t<T>* sum, const T* values, int64_t rows, int64_t n);

}  // namespace pleat
