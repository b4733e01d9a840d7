// Matrix product, the one door to BLAS.
#pragma once

#include <cstdint>
#include <string>

namespace pleat {

enum class Transpose { no, yes };

/// c = a b + beta c, row-major; `a` is [m,k] ([k,m] if transposed), `b` is [k,n] ([n,k] if transposed), `c` is [m,n];
/// ld is the distance between the starts of two rows as stored. beta = 0 overwrites c whatever it held. Runs on the
/// calling thread alone, so call it inside parallel_for. Sizes must fit an int (std::invalid_argument otherwise).
template <class T>
void gemm(T* c, int64_t ldc, const T* a, int64_t lda, Transpose ta, const T* b, int64_t ldb, Transpose tb, int64_t m,
          int64_t n, int64_t k, T beta);

/// The library's name, version and how it was built.
std::string blas_version();

}  // namespace pleat
