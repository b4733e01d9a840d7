#include "ops/add.hpp"

#include "core/parallel.hpp"
#include "core/simd/bf16.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

template <class T>
PLEAT_INLINE inline void add_part(T* y, const T* a, const T* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(a[i] + b[i]);
}

}  // namespace

template <class T>
void add_forward(std::span<T> y, std::span<const T> a, std::span<const T> b) {
  parallel_for(std::ssize(y), [&](int64_t begin, int64_t end, int) {
    dispatch([&](auto) PLEAT_INLINE { add_part(y.data() + begin, a.data() + begin, b.data() + begin, end - begin); });
  });
}

template void add_forward(std::span<float>, std::span<const float>, std::span<const float>);
template void add_forward(std::span<double>, std::span<const double>, std::span<const double>);
template void add_forward(std::span<Bf16>, std::span<const Bf16>, std::span<const Bf16>);

}  // namespace pleat
