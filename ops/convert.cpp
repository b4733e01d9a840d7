#include "ops/convert.hpp"

#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

template <class To, class From>
PLEAT_INLINE inline void convert_part(To* __restrict y, const From* __restrict x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = To(x[i]);
}

}  // namespace

template <class To, class From>
void convert(std::span<To> y, std::span<const From> x) {
  parallel_for(std::ssize(x), [&](int64_t begin, int64_t end, int) {
    dispatch([&](auto) PLEAT_INLINE { convert_part(y.data() + begin, x.data() + begin, end - begin); });
  });
}

template void convert(std::span<Bf16>, std::span<const float>);
template void convert(std::span<float>, std::span<const Bf16>);

}  // namespace pleat
