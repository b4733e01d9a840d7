#include "models/models.hpp"

#include <functional>

#include "core/check.hpp"
#include "core/did_you_mean.hpp"
#include "models/efficient_net_lite.hpp"
#include "models/mobilenet_v2.hpp"
#include "models/resnet.hpp"
#include "models/vgg.hpp"

namespace pleat {
namespace {

// One row of the catalogue.
struct Network {
  std::string name;
  std::function<Graph(const Input&, int classes, const ModelOptions&)> make;
  bool takes_projection = false;  // whether it accepts ModelOptions::projection
  bool takes_width = false;       // whether it accepts ModelOptions::width
};

const std::vector<Network>& networks() {
  static const std::vector<Network> all = [] {
    using Options = ModelOptions;
    std::vector<Network> list;
    for (const int depth : {20, 32, 44, 56})
      list.push_back({concat("resnet", depth),
                      [depth](const Input& input, int classes, const Options& options) {
                        return resnet_cifar(depth, input, classes, options.projection);
                      },
                      true});
    for (const int layers : {16, 19})
      list.push_back({concat("vgg", layers, "_bn"), [layers](const Input& input, int classes, const Options&) {
                        return vgg_bn(layers, input, classes);
                      }});
    for (const bool small : {true, false})
      for (const auto& [text, width] : {std::pair{"0.75", 0.75}, {"1.0", 1.0}, {"1.4", 1.4}})
        list.push_back({concat("mobilenet_v2_", text, small ? "_cifar" : ""),
                        [width = width, small](const Input& input, int classes, const Options& options) {
                          return mobilenet_v2(options.width.value_or(width), small, input, classes);
                        },
                        false, true});
    for (const int number : {0, 1})
      list.push_back({concat("efficientnet_lite", number), [number](const Input& input, int classes, const Options&) {
                        return efficient_net_lite(number, input, classes);
                      }});
    return list;
  }();
  return all;
}

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Network& network : networks()) names.push_back(network.name);
  return names;
}

Graph make_model(const std::string& name, const Input& input, int classes, const ModelOptions& options) {
  for (const Network& network : networks()) {
    if (name == network.name) {
      PLEAT_CHECK(
          network.takes_projection || !options.projection, name,
          " has no skips that change the shape, so none can be a projection\nhint: the resnet* networks have them");
      PLEAT_CHECK(network.takes_width || !options.width, name, " has a fixed width, got width ",
                  options.width.value_or(0), "\nhint: the mobilenet_v2_* networks take any width");
      return network.make(input, classes, options);
    }
  }
  const std::vector<std::string> known = model_names();
  std::string list;
  for (const std::string& each : known) list += concat(list.empty() ? "" : ", ", each);
  throw std::invalid_argument(
      concat("no network is called '", name, "'", did_you_mean(name, known), " (expected one of ", list, ")"));
}

}  // namespace pleat
