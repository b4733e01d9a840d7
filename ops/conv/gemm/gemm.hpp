// Matrix product, the one door to BLAS.
#pragma once

#include <cstdint>
#include <string>

namespace pleat {

enum class Transpose { no, yes };

/// A factor of a product as it is stored, row-major; `ld` is the distance between the starts of two of its rows.
template <class T>
struct Factor {
  const T* data;
  int64_t ld;
  Transpose transpose = Transpose::no;
};

/// c = a b + beta c, row-major; `a` is [m,k] ([k,m] as stored, if transposed), `b` is [k,n] ([n,k] if transposed), `c`
/// is [m,n], with `ldc` from row to row. beta = 0 overwrites c whatever it held. Runs on the calling thread alone, so
/// call it inside parallel_for. Sizes must fit an int (std::invalid_argument otherwise).
template <class T>
void gemm(T* c, int64_t ldc, const Factor<T>& a, const Factor<T>& b, int64_t m, int64_t n, int64_t k, T beta);

/// Solves a x = b for a symmetric positive definite `a` [n,n], for `count` right sides at once: row r of `b` [count,n]
/// is one right side, and becomes its solution. `a` is overwritten by its Cholesky factor. Throws std::runtime_error if
/// `a` is not positive definite, std::invalid_argument if a size does not fit an int.
void solve_positive_definite(double* a, double* b, int64_t n, int64_t count);

/// The library's name, version and how it was built.
std::string blas_version();

}  // namespace pleat
