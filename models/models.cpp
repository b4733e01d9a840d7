#include "models/models.hpp"

#include <functional>

#include "core/check.hpp"
#include "models/efficient_net_lite.hpp"
#include "models/mobilenet_v2.hpp"
#include "models/resnet.hpp"
#include "models/vgg.hpp"

namespace pleat {
namespace {

struct Family {
  std::string name;
  std::function<Graph(const Input&, int classes, const ModelOptions&)> make;
  bool projects = false;  ///< Takes ModelOptions::projection,
  bool widens = false;    ///< ModelOptions::width.
};

const std::vector<Family>& families() {
  static const std::vector<Family> all = [] {
    using Options = ModelOptions;
    std::vector<Family> list;
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
  for (const Family& family : families()) names.emplace_back(family.name);
  return names;
}

Graph make_model(const std::string& name, const Input& input, int classes, const ModelOptions& options) {
  std::string known;
  for (const Family& family : families()) {
    if (name == family.name) {
      PLEAT_CHECK(family.projects || !options.projection, name, " has no skips that could be projections");
      PLEAT_CHECK(family.widens || !options.width, name, " has one width, got ", options.width.value_or(0),
                  "\nhint: mobilenet_v2_* have others");
      return family.make(input, classes, options);
    }
    known += concat(known.empty() ? "" : ", ", family.name);
  }
  throw std::invalid_argument(concat("no model is called '", name, "'; there are ", known));
}

}  // namespace pleat
