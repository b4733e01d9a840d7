// Layout: pixels are rows of k elements, weights panels of 16 output channels (see the header).
//
// Loops: up to three panels at a time (with AVX2 one); tiles of up to 16 pixels (with AVX2 6); k. A tile's sums stay in
// registers over all of k: at each step the panels' weights are loaded once and multiplied with one element (of
// bfloat16, one pair) of each pixel, which is copied to all lanes. Meanwhile the weights of a panel that comes later
// are prefetched.
#include "ops/conv/gemm/tile_product.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "ops/conv/gemm/lane_product.hpp"

namespace pleat {
namespace {

// Two lanes' factors in turn.
template <class V, class T>
PLEAT_INLINE inline auto spread_two(const T* from) {
  using Lane = std::conditional_t<std::is_same_v<T, Bf16>, uint32_t, float>;
  uint64_t two;
  std::memcpy(&two, from, sizeof two);
  const auto bits = Vec<uint64_t, sizeof(V) / sizeof two>{} + two;
  std::array<Vec<Lane, kWidthOf<V>>, 1> factors;
  std::memcpy(&factors[0], &bits, sizeof bits);
  return factors;
}

// The most pixels of a tile of so many panels, or for 0 of the tail, such that sums, weights and one factor fit the
// registers; of two panels in bfloat16 as many as are fastest.
template <class Isa, int kPanels, class T>
constexpr int tile_pixels() {
  if (Isa::kRegisters < 32) return kPanels == 0 ? 2 : 6;
  return kPanels == 1 || (kPanels == 2 && std::is_same_v<T, float>) ? 14 : 7;
}

// The product of kRows pixels `of` some, at `a`, with kPanels panels of b. Meanwhile asks for a panel that is wanted
// soon, as much of it at each step as the step reads.
template <class Isa, int kRows, int kPanels, class T>
PLEAT_INLINE inline void multiply_tile(const T* a, const Pixels<T>& of, const T* b, int64_t panel, int64_t k,
                                       const Sums sums, const T* soon) {
  using V = Vec<float, Isa::kBytes / sizeof(float)>;
  constexpr int64_t kWidth = kWidthOf<V>, kVectors = kPanels * kPanelWidth / kWidth;
  constexpr int64_t kStep = kLaneWeights<T>;
  V sum[kRows * kVectors];
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(v, kVectors) load(sum[r * kVectors + v], sums.start + r * sums.start_pixel + v * kWidth);
  for (int64_t run = 0; run < of.runs; ++run, a += of.run)
    for (int64_t i = 0; i < k; i += kStep, b += kStep * kPanelWidth, soon += kStep * kPanelWidth) {
      V w[kVectors];
      PLEAT_UNROLLED(v, kVectors) {
        const int64_t column = v * kWidth;
        std::memcpy(&w[v], b + column / kPanelWidth * panel + column % kPanelWidth * kStep, Isa::kBytes);
      }
      __builtin_prefetch(soon, 0, 2);
      PLEAT_UNROLLED(r, kRows) {
        const auto factor = spread<V>(a + r * of.pixel + i);
        PLEAT_UNROLLED(v, kVectors) multiply_add<Isa>(sum[r * kVectors + v], factor, w[v]);
      }
    }
  const auto store_at = [&](auto* to) PLEAT_INLINE {
    store_activated<kVectors, Isa>(
        sum, sums.act, [&](int64_t i) PLEAT_INLINE { return to + i / kVectors * sums.pixel + i % kVectors * kWidth; });
  };
  if constexpr (std::is_same_v<T, Bf16>)
    if (sums.rounded != nullptr) return store_at(sums.rounded);
  store_at(sums.to);
}

// The same with a tail: lanes of even and of odd place hold sums over every other k.
template <class Isa, int kRows, class T>
PLEAT_INLINE inline void multiply_tail(const T* a, const Pixels<T>& of, const T* b, int64_t k, const Sums sums,
                                       const T* soon) {
  constexpr int64_t kThird = kTailWidth / 3, kStep = 2 * kLaneWeights<T>;
  using V = Vec<float, Isa::kBytes / sizeof(float)>;
  using Third = Vec<float, kThird>;
  constexpr int64_t kParts = 2 * kThird / kWidthOf<V>, kVectors = 3 * kParts, kWidth = Isa::kBytes / int64_t{sizeof(T)};
  V sum[kRows * kVectors] = {};
  for (int64_t run = 0; run < of.runs; ++run, a += of.run)
    for (int64_t i = 0; i < k; i += kStep, b += kTailWidth * kStep, soon += kTailWidth * kStep) {
      V w[kVectors];
      PLEAT_UNROLLED(v, kVectors) std::memcpy(&w[v], b + v * kWidth, Isa::kBytes);
      __builtin_prefetch(soon, 0, 2);
      PLEAT_UNROLLED(r, kRows) {
        const auto factor = spread_two<V>(a + r * of.pixel + i);
        PLEAT_UNROLLED(v, kVectors) multiply_add<Isa>(sum[r * kVectors + v], factor, w[v]);
      }
    }
  Third whole[kRows * 3], start;
  PLEAT_UNROLLED(r, kRows)
  PLEAT_UNROLLED(t, 3) {
    // The same one twice where a register holds all of a third.
    const V &first = sum[(r * 3 + t) * kParts], &last = sum[(r * 3 + t) * kParts + kParts - 1];
    load(start, sums.start + r * sums.start_pixel + t * kThird);
    whole[r * 3 + t] = start + __builtin_shufflevector(first, last, 0, 2, 4, 6, 8, 10, 12, 14) +
                       __builtin_shufflevector(first, last, 1, 3, 5, 7, 9, 11, 13, 15);
  }
  const auto store_at = [&](auto* to) PLEAT_INLINE {
    store_activated<3, Isa>(whole, sums.act,
                            [&](int64_t i) PLEAT_INLINE { return to + i / 3 * sums.pixel + i % 3 * kThird; });
  };
  if constexpr (std::is_same_v<T, Bf16>)
    if (sums.rounded != nullptr) return store_at(sums.rounded);
  store_at(sums.to);
}

// All pixels with the first kPanels of b, or for 0 with its tail. Each tile asks for one of the panels after those; if
// there is only one, which reads the weights as they come from memory, for what lies a bit further: a whole panel ahead
// would fill the cache.
template <class Isa, int kPanels, class T>
PLEAT_INLINE inline void multiply_panels(const Pixels<T>& a, const Panels<T>& b, int64_t k, const Sums& sums,
                                         const Panels<T>& next) {
  constexpr int kMost = tile_pixels<Isa, kPanels, T>(), kSquare = 16;  // 4x4
  constexpr int64_t kAhead = (16 << 10) / sizeof(T);
  const bool is_one_tile = kPanels == 1 && a.lines * a.pixels <= kSquare;
  int64_t soon = kPanels;
  for (int64_t line = 0; line < a.lines; ++line) {
    int64_t first = 0;
    const auto some = [&](auto count) PLEAT_INLINE {
      const Sums of = sums.at((line * a.pixels + first) * sums.start_pixel, line * sums.line + first * sums.pixel);
      const T* wanted = is_one_tile ? b.data + kAhead
                        : soon < b.count
                            ? b.data + soon * b.panel
                            : next.data + std::max<int64_t>(0, std::min(soon - b.count, next.count - 1)) * next.panel;
      const T* from = a.data + line * a.line + first * a.pixel;
      if constexpr (kPanels == 0)
        multiply_tail<Isa, count>(from, a, b.tail, k, of, wanted);
      else
        multiply_tile<Isa, count, kPanels>(from, a, b.data, b.panel, k, of, wanted);
      ++soon;
      first += count;
    };
    if constexpr (Isa::kRegisters >= 32 && kPanels == 1)
      if (a.pixels == kSquare) some(std::integral_constant<int, kSquare>());
    while (first + kMost <= a.pixels) some(std::integral_constant<int, kMost>());
    if constexpr (kMost > 7)
      while (first + 7 <= a.pixels) some(std::integral_constant<int, 7>());
    if constexpr (kMost > 4)
      if (first + 4 <= a.pixels) some(std::integral_constant<int, 4>());
    while (first < a.pixels) some(std::integral_constant<int, 1>());
  }
}

}  // namespace

template <class T>
void multiply(const Pixels<T>& a, const Panels<T>& b, int64_t k, const Sums& sums, const Panels<T>& next) {
  dispatch_tiles<T>([&]<class Isa>(Isa) PLEAT_INLINE {
    Panels<T> rest = b;
    Sums of = sums;
    const auto some = [&](auto count) PLEAT_INLINE {
      multiply_panels<Isa, count>(a, rest, k, of, next);
      rest.data += count * rest.panel;
      rest.count -= count;
      of = of.at(count * kPanelWidth, count * kPanelWidth);
    };
    using One = std::integral_constant<int, 1>;
    using Two = std::integral_constant<int, 2>;
    using Three = std::integral_constant<int, 3>;
    while (rest.count > 0) {
      if constexpr (Isa::kRegisters >= 32)
        rest.count >= 5 || rest.count == 3 ? some(Three()) : rest.count >= 2 ? some(Two()) : some(One());
      else
        some(One());
    }
    if (rest.tail != nullptr) some(std::integral_constant<int, 0>());
  });
}

template void multiply(const Pixels<float>&, const Panels<float>&, int64_t, const Sums&, const Panels<float>&);
template void multiply(const Pixels<Bf16>&, const Panels<Bf16>&, int64_t, const Sums&, const Panels<Bf16>&);

template <class T, class W>
void pack_panels(std::span<T> packed, const PointwiseWeights<W>& weights, int64_t k, const Packing& packing) {
  parallel_for(packing.whole + packing.tail, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const bool tail = panel == packing.whole;
      const int64_t step = kLaneWeights<T> * (tail ? 2 : 1), width = tail ? kTailWidth : kPanelWidth;
      const int64_t first = panel * kPanelWidth, columns = std::min(width, weights.out - first);
      T* const to = packed.data() + first * k;
      if (columns < width || weights.in < k) std::fill_n(to, width * k, T(0.0f));
      for (int64_t i = 0; i < weights.in; ++i) {
        const W* from = weights.data + first * weights.next_out + i * weights.next_in;
        T* const row = to + i / step * step * width + i % step;
        for (int64_t c = 0; c < columns; ++c) row[c * step] = T(from[c * weights.next_out]);
      }
    }
  });
}

template void pack_panels(std::span<float>, const PointwiseWeights<float>&, int64_t, const Packing&);
template void pack_panels(std::span<Bf16>, const PointwiseWeights<float>&, int64_t, const Packing&);
template void pack_panels(std::span<Bf16>, const PointwiseWeights<Bf16>&, int64_t, const Packing&);

}  // namespace pleat
