#include "ops/linear.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "ops/conv/gemm/gemm.hpp"

namespace pleat {
namespace {

// gemm, with the longer side of c cut into a part a thread.
template <class T>
void parallel_gemm(T* c, int64_t ldc, Factor<T> a, Factor<T> b, int64_t m, int64_t n, int64_t k, T beta) {
  const bool by_rows = m >= n;
  parallel_for(by_rows ? m : n, [&](int64_t begin, int64_t end, int) {
    if (by_rows) {
      const int64_t row = a.transpose == Transpose::yes ? 1 : a.ld;
      gemm(c + begin * ldc, ldc, {a.data + begin * row, a.ld, a.transpose}, b, end - begin, n, k, beta);
    } else {
      const int64_t column = b.transpose == Transpose::yes ? b.ld : 1;
      gemm(c + begin, ldc, a, {b.data + begin * column, b.ld, b.transpose}, m, end - begin, k, beta);
    }
  });
}

}  // namespace

template <class T>
void linear_forward(std::span<T> y, std::span<const T> x, std::span<const T> weight, std::span<const T> bias, int64_t n,
                    int64_t in, const Linear& op) {
  if (op.bias)
    for (int64_t i = 0; i < n; ++i) std::copy_n(bias.data(), op.out, y.data() + i * op.out);
  parallel_gemm(y.data(), op.out, {x.data(), in}, {weight.data(), in, Transpose::yes}, n, op.out, in,
                op.bias ? T{1} : T{0});
}

template <class T>
void linear_backward(std::span<T> dx, std::span<T> dweight, std::span<T> dbias, std::span<const T> dy,
                     std::span<const T> x, std::span<const T> weight, int64_t n, int64_t in, const Linear& op) {
  parallel_gemm(dweight.data(), in, {dy.data(), op.out, Transpose::yes}, {x.data(), in}, op.out, in, n, T{1});
  if (op.bias)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t o = 0; o < op.out; ++o) dbias[o] += dy[i * op.out + o];
  if (!dx.empty()) parallel_gemm(dx.data(), in, {dy.data(), op.out}, {weight.data(), in}, n, in, op.out, T{0});
}

#define PLEAT_INSTANTIATE(T)                                                                                      \
  template void linear_forward(std::span<T>, std::span<const T>, std::span<const T>, std::span<const T>, int64_t, \
                               int64_t, const Linear&);                                                           \
  template void linear_backward(std::span<T>, std::span<T>, std::span<T>, std::span<const T>, std::span<const T>, \
                                std::span<const T>, int64_t, int64_t, const Linear&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
