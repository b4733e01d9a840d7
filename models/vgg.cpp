#include "models/vgg.hpp"

#include "core/check.hpp"

namespace pleat {

Graph vgg_bn(int layers, const Input& input, int classes) {
  PLEAT_CHECK(layers == 16 || layers == 19, "vgg: the number of layers is ", layers, ", expected 16 or 19");
  Graph g;
  int x = g.add("input", input, {});
  // PyTorch names the layers of a sequence by their positions, and dropout layers count.
  int index = 0;
  const auto name = [&](const char* sequence) { return concat(sequence, '.', index++); };
  const auto relu = [&](const std::string& act) {
    x = g.add(act, AlphaAct{.s = Nonlinearity::relu, .alpha = act + ".alpha"}, {x});
  };
  for (int stage = 0; stage < 5; ++stage) {
    const int out = stage < 4 ? 64 << stage : 512;
    for (int conv = 0; conv < (stage < 2 ? 2 : layers == 16 ? 3 : 4); ++conv) {
      x = g.add(name("features"), Conv2d{.out = out, .kernel = 3, .pad = Padding::uniform(1), .bias = true}, {x});
      x = g.add(name("features"), BatchNorm{}, {x});
      relu(name("features"));
    }
    x = g.add(name("features"), MaxPool2d{}, {x});
  }
  x = g.add("flatten", Flatten{}, {x});
  index = 0;
  for (int layer = 0; layer < 2; ++layer) {
    x = g.add(name("classifier"), Linear{.out = 512}, {x});
    relu(name("classifier"));
    ++index;  // the position of the dropout layer, which is left out here
  }
  g.add(name("classifier"), Linear{.out = classes}, {x});
  return g;
}

}  // namespace pleat
