#include "models/resnet.hpp"

#include "core/check.hpp"

namespace pleat {
namespace {

Conv2d conv3x3(int out, int stride = 1) {
  return {.out = out, .kernel = 3, .stride = stride, .pad = Padding::uniform(1)};
}

// Appends relu2(bn2(conv2(relu1(bn1(conv1(x))))) + skip(x)) and returns the last node.
int basic_block(Graph& g, const std::string& name, int x, int in, int out, int stride, bool projection) {
  const auto alpha = [&](const char* which) { return AlphaAct{.s = Nonlinearity::relu, .alpha = name + which}; };
  int y = g.add(name + ".conv1", conv3x3(out, stride), {x});
  y = g.add(name + ".bn1", BatchNorm{}, {y});
  y = g.add(name + ".relu1", alpha(".alpha1"), {y});
  y = g.add(name + ".conv2", conv3x3(out), {y});
  y = g.add(name + ".bn2", BatchNorm{}, {y});
  int skip = x;
  if (stride != 1 || in != out) {
    if (projection) {
      skip = g.add(name + ".shortcut.0", Conv2d{.out = out, .kernel = 1, .stride = stride}, {x});
      skip = g.add(name + ".shortcut.1", BatchNorm{}, {skip});
    } else {
      skip = g.add(name + ".shortcut", Shortcut{.out = out, .stride = stride}, {x});
    }
  }
  y = g.add(name + ".add", Add{}, {y, skip});
  return g.add(name + ".relu2", alpha(".alpha2"), {y});
}

}  // namespace

Graph resnet_cifar(int depth, const Input& input, int classes, bool projection) {
  PLEAT_CHECK(depth >= 8 && depth % 6 == 2, "resnet: the depth is ", depth, ", expected 6n + 2: 20, 32, 44, 56, ...");
  const int blocks = (depth - 2) / 6;
  Graph g;
  int x = g.add("input", input, {});
  int channels = 16;
  x = g.add("conv1", conv3x3(channels), {x});
  x = g.add("bn1", BatchNorm{}, {x});
  x = g.add("relu1", AlphaAct{.s = Nonlinearity::relu, .alpha = ""}, {x});
  for (int stage = 1; stage <= 3; ++stage) {
    const int out = 16 << (stage - 1);
    for (int block = 0; block < blocks; ++block) {
      const std::string name = concat("layer", stage, '.', block);
      x = basic_block(g, name, x, channels, out, stage > 1 && block == 0 ? 2 : 1, projection);
      channels = out;
    }
  }
  x = g.add("avg_pool", GlobalAvgPool{}, {x});
  g.add("linear", Linear{.out = classes}, {x});
  return g;
}

}  // namespace pleat
