#include "fold/tile_product.hpp"

namespace pleat {

template <class T>
AlignedVector<T> pack_panels(std::span<const float> weight, int64_t out, int64_t in, int64_t k) {
  constexpr int64_t kStep = kLaneWeights<T>;
  const int64_t panel = k * kPanelWidth;
  AlignedVector<T> packed(panels_of(out) * panel, T(0.0f));
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      packed[o / kPanelWidth * panel + i / kStep * kStep * kPanelWidth + o % kPanelWidth * kStep + i % kStep] =
          T(weight[o * in + i]);
  return packed;
}

template AlignedVector<float> pack_panels(std::span<const float>, int64_t, int64_t, int64_t);
template AlignedVector<Bf16> pack_panels(std::span<const float>, int64_t, int64_t, int64_t);

}  // namespace pleat
