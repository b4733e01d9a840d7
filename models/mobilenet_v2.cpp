#include "models/mobilenet_v2.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "models/inverted_residual_block.hpp"

namespace pleat {
namespace {

// One stage of the network: `blocks` inverted residual blocks of which only the first has the stride.
struct Stage {
  int expand, channels, blocks, stride;
};
constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

// torchvision numbers the layers of a block in sequence, so in a block without an expansion layer the numbers shift.
constexpr InvertedResidualNames kNames = {".conv.0.0", ".conv.0.1", ".conv.1.0", ".conv.1.1", ".conv.2", ".conv.3"};
constexpr InvertedResidualNames kUnexpanded = {nullptr, nullptr, ".conv.0.0", ".conv.0.1", ".conv.1", ".conv.2"};

// The multiple of 8 nearest to `channels`, but at least 8, and never more than a tenth below `channels`. This is
// torchvision's _make_divisible.
int divisible(double channels) {
  const int rounded = std::max(8, static_cast<int>(channels + 4) / 8 * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}

}  // namespace

Graph mobilenet_v2(double width, bool small, const Input& input, int classes) {
  PLEAT_CHECK(width > 0 && width <= 8, "mobilenet_v2: the width is ", width, ", expected above 0 and at most 8");
  Graph g;
  int x = g.add("input", input, {});
  int in = divisible(32 * width), index = 0;
  const auto features = [&](const char* part) { return concat("features.", index, part); };
  const auto layer = [&](const Conv2d& conv) {  // appends the stem or the head
    x = conv_norm_relu6(g, x, features(".0"), conv, features(".1"), {}, features(".2"));
    ++index;
  };
  layer({.out = in, .kernel = 3, .stride = small ? 1 : 2, .pad = Padding::uniform(1)});
  for (const Stage& stage : kStages)
    for (int block = 0; block < stage.blocks; ++block) {
      const int out = divisible(stage.channels * width);
      const bool keeps_size = block > 0 || (small && &stage == &kStages[1]);
      x = inverted_residual(
          g, x,
          {.name = features(""), .in = in, .out = out, .stride = keeps_size ? 1 : stage.stride, .expand = stage.expand},
          stage.expand == 1 ? kUnexpanded : kNames);
      in = out;
      ++index;
    }
  layer({.out = divisible(1280 * std::max(1.0, width))});
  x = g.add("avg_pool", GlobalAvgPool{}, {x});
  g.add("classifier.1", Linear{.out = classes}, {x});
  return g;
}

}  // namespace pleat
