#include "models/models.hpp"

#include <functional>

#include "core/check.hpp"
#include "models/resnet.hpp"

namespace pleat {
namespace {

struct Family {
  const char* name;
  std::function<Graph(const Input&, int classes, const ModelOptions&)> make;
};

const std::vector<Family>& families() {
  static const std::vector<Family> all = [] {
    std::vector<Family> list;
    for (const auto& [name, depth] : {std::pair{"resnet20", 20}, {"resnet32", 32}, {"resnet44", 44}, {"resnet56", 56}})
      list.push_back({name, [depth = depth](const Input& input, int classes, const ModelOptions& options) {
                        return resnet_cifar(depth, input, classes, options.projection);
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
    if (name == family.name) return family.make(input, classes, options);
    known += concat(known.empty() ? "" : ", ", family.name);
  }
  throw std::invalid_argument(concat("no model is called '", name, "'; there are ", known));
}

}  // namespace pleat
