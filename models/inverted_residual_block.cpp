#include "models/inverted_residual_block.hpp"

namespace pleat {

int conv_norm_relu6(Graph& g, int x, const std::string& conv_name, const Op& conv, const std::string& norm_name,
                    const BatchNorm& norm, const std::string& act_name, const std::string& alpha) {
  x = g.add(conv_name, conv, {x});
  x = g.add(norm_name, norm, {x});
  return g.add(act_name, AlphaAct{.s = Nonlinearity::relu6, .alpha = alpha}, {x});
}

int inverted_residual(Graph& g, int x, const InvertedResidual& block, const InvertedResidualNames& names) {
  const std::string& name = block.name;
  const std::string alpha = name + ".alpha";
  int y = x;
  if (block.expand != 1)
    y = conv_norm_relu6(g, y, name + names.expand, Conv2d{.out = block.in * block.expand}, name + names.expand_norm,
                        block.norm, name + ".relu1", alpha);
  const DepthwiseConv2d depthwise{
      .kernel = block.kernel, .stride = block.stride, .pad = Padding::uniform(block.kernel / 2)};
  y = conv_norm_relu6(g, y, name + names.depthwise, depthwise, name + names.depthwise_norm, block.norm, name + ".relu2",
                      alpha);
  y = g.add(name + names.project, Conv2d{.out = block.out}, {y});
  y = g.add(name + names.project_norm, block.norm, {y});
  return block.stride == 1 && block.in == block.out ? g.add(name + ".add", Add{}, {y, x}) : y;
}

}  // namespace pleat
