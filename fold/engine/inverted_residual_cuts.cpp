// How threads share the work of an inverted residual block: the candidates for the tuner.
#include <algorithm>

#include "fold/engine/fused_inverted_residual.hpp"

namespace pleat {

std::vector<BlockCut> block_cuts(const InvertedResidual& block) {
  constexpr int64_t kMostExpanded = 640 << 10, kUsual = 192 << 10;  // bytes
  const int threads = num_threads();
  const int64_t kernel = block.depthwise.kernel, stride = block.depthwise.stride;
  const Padding pad = block.depthwise.pad;
  const int64_t columns = pad.left + block.between.w + pad.right, channels = panels_of(block.between.c) * kPanelWidth;
  std::vector<BlockCut> cuts;
  for (const int64_t bands : {1, 2, 4, 8, 16}) {
    const int64_t rows = (block.y.h + bands - 1) / bands;
    const int64_t seen = std::min((rows - 1) * stride + kernel, block.between.h + pad.top + pad.bottom);
    const int splits = static_cast<int>(std::min<int64_t>(threads, channels / kPanelWidth));
    for (const int64_t chunk : {48, 96, 192, 384}) {
      const int64_t bytes = seen * columns * std::min(chunk, channels) * int64_t{sizeof(float)};
      if (bytes > kMostExpanded || (chunk > 48 && chunk / 2 >= channels)) continue;
      if (bands * block.x.n >= threads) cuts.push_back({rows, std::min(chunk, channels), 1});
      if (bands * block.x.n < threads && chunk * splits <= channels + 48)
        cuts.push_back({rows, std::min(chunk, channels), splits});
    }
    if (block.y.h < 2 * bands) break;
  }
  if (cuts.empty()) cuts.push_back({1, kPanelWidth, 1});
  // The usual: as much at once as the cache holds beside weights and sums.
  const auto usual = std::ranges::max_element(cuts, {}, [&](const BlockCut& cut) {
    const int64_t bytes = ((cut.rows - 1) * stride + kernel) * columns * cut.chunk * int64_t{sizeof(float)};
    return std::pair(bytes <= kUsual ? bytes : kUsual - bytes, cut.chunk);
  });
  std::iter_swap(cuts.begin(), usual);
  return cuts;
}

}  // namespace pleat
