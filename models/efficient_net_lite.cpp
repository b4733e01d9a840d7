#include "models/efficient_net_lite.hpp"

#include <cmath>

#include "core/check.hpp"
#include "models/inverted_residual_block.hpp"
#include "models/padding_style.hpp"

namespace pleat {
namespace {

// One stage of the network: `blocks` inverted residual blocks of which only the first has the stride.
struct Stage {
  int kernel, stride, expand, channels, blocks;
  bool deepens = true;  // False for the first and the last stage, which have one block at every depth.
};
constexpr Stage kStages[] = {{3, 1, 1, 16, 1, false}, {3, 2, 6, 24, 2},  {5, 2, 6, 40, 2},        {3, 2, 6, 80, 3},
                             {5, 1, 6, 112, 3},       {5, 2, 6, 192, 4}, {3, 1, 6, 320, 1, false}};
constexpr double kDepths[] = {1.0, 1.1};  // depth multipliers of lite0 and lite1; both have width multiplier 1

constexpr InvertedResidualNames kNames = {"._expand_conv", "._bn0",          "._depthwise_conv",
                                          "._bn1",         "._project_conv", "._bn2"};
constexpr BatchNorm kNorm = {.eps = 1e-3, .momentum = 0.01};

}  // namespace

Graph efficient_net_lite(int number, const Input& input, int classes) {
  PLEAT_CHECK(number == 0 || number == 1, "efficientnet_lite: the number is ", number, ", expected 0 or 1");
  Graph g;
  int x = g.add("input", input, {});
  int in = 32, index = 0;
  x = conv_norm_relu6(g, x, "_conv_stem", Conv2d{.out = in, .kernel = 3, .stride = 2, .pad = Padding::uniform(1)},
                      "_bn0", kNorm, "_relu0");
  for (const Stage& stage : kStages) {
    const int blocks = stage.deepens ? static_cast<int>(std::ceil(kDepths[number] * stage.blocks)) : stage.blocks;
    for (int block = 0; block < blocks; ++block) {
      x = inverted_residual(g, x,
                            {.name = concat("_blocks.", index++),
                             .in = in,
                             .out = stage.channels,
                             .kernel = stage.kernel,
                             .stride = block == 0 ? stage.stride : 1,
                             .expand = stage.expand,
                             .norm = kNorm},
                            kNames);
      in = stage.channels;
    }
  }
  x = conv_norm_relu6(g, x, "_conv_head", Conv2d{.out = 1280}, "_bn1", kNorm, "_relu1");
  x = g.add("_avg_pooling", GlobalAvgPool{}, {x});
  g.add("_fc", Linear{.out = classes}, {x});
  set_padding(g, PaddingStyle::same);
  return g;
}

}  // namespace pleat
