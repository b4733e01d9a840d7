#include "ops/conv/gemm/gemm.hpp"

#include <cblas.h>

#include <algorithm>
#include <limits>

#include "core/check.hpp"

// LAPACK's Cholesky solver; OpenBLAS has it, but its header does not declare it. Column-major.
extern "C" void dposv_(const char* uplo, const int* n, const int* nrhs, double* a, const int* lda, double* b,
                       const int* ldb, int* info);

namespace pleat {
namespace {

CBLAS_TRANSPOSE flag(Transpose t) {
  return t == Transpose::yes ? CblasTrans : CblasNoTrans;
}

// OpenBLAS has threads of its own, which would fight with those of parallel_for for the cores.
void use_one_blas_thread() {
  static const bool done = (openblas_set_num_threads(1), true);
  static_cast<void>(done);
}

}  // namespace

template <class T>
void gemm(T* c, int64_t ldc, const Factor<T>& a, const Factor<T>& b, int64_t m, int64_t n, int64_t k, T beta) {
  const int64_t largest = std::max({m, n, k, a.ld, b.ld, ldc});
  PLEAT_CHECK(largest <= std::numeric_limits<int>::max(), "gemm: size ", largest, " does not fit an int");
  use_one_blas_thread();
  const auto i = [](int64_t size) { return static_cast<int>(size); };
  if constexpr (sizeof(T) == sizeof(float))
    cblas_sgemm(CblasRowMajor, flag(a.transpose), flag(b.transpose), i(m), i(n), i(k), 1, a.data, i(a.ld), b.data,
                i(b.ld), beta, c, i(ldc));
  else
    cblas_dgemm(CblasRowMajor, flag(a.transpose), flag(b.transpose), i(m), i(n), i(k), 1, a.data, i(a.ld), b.data,
                i(b.ld), beta, c, i(ldc));
}

template void gemm(float*, int64_t, const Factor<float>&, const Factor<float>&, int64_t, int64_t, int64_t, float);
template void gemm(double*, int64_t, const Factor<double>&, const Factor<double>&, int64_t, int64_t, int64_t, double);

void solve_positive_definite(double* a, double* b, int64_t n, int64_t count) {
  PLEAT_CHECK(std::max(n, count) <= std::numeric_limits<int>::max(), "solve: size ", std::max(n, count),
              " does not fit an int");
  const int size = static_cast<int>(n), sides = static_cast<int>(count);
  int info = 0;
  // Rows of b are what LAPACK takes for columns; a is its own transpose.
  dposv_("U", &size, &sides, a, &size, b, &size, &info);
  if (info != 0)
    throw std::runtime_error(
        concat("solve: the matrix of ", n, " rows is not positive definite (leading minor ", info, ")"));
}

std::string blas_version() {
  return openblas_get_config();
}

}  // namespace pleat
