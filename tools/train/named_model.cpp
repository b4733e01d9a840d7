#include "tools/train/named_model.hpp"

#include "ops/spec.hpp"

namespace pleat {
namespace {

// What ImageNet networks are trained on. There is no ImageNet among the data sets that could be asked.
DatasetInfo imagenet(int side) {
  DatasetInfo info;
  info.height = info.width = side;
  info.channels = 3;
  info.classes = 1000;
  info.mean = {0.485f, 0.456f, 0.406f};
  info.std = {0.229f, 0.224f, 0.225f};
  return info;
}

}  // namespace

DatasetInfo usual_dataset(const std::string& name) {
  if (name == "efficientnet_lite1") return imagenet(240);
  if (name.starts_with("efficientnet") || (name.starts_with("mobilenet") && !name.ends_with("_cifar")))
    return imagenet(224);
  return dataset_info("cifar10");
}

DatasetInfo resized(DatasetInfo data, const NetworkOptions& options) {
  data.classes = options.classes.value_or(data.classes);
  data.height = options.input_size.value_or(data.height);
  data.width = options.input_size.value_or(data.width);
  return data;
}

Model new_model(Graph graph, const DatasetInfo& data, uint64_t seed) {
  Model model;
  model.graph = std::move(graph);
  model.tensors = initial_tensors(model.graph, seed);
  model.mean = data.mean;
  model.std = data.std;
  model.crop = usual_crop(std::get<Input>(model.graph.nodes.at(0).op));
  return model;
}

Model named_model(const std::string& name, const DatasetInfo& data, uint64_t seed, const ModelOptions& options) {
  const DatasetInfo usual = usual_dataset(name);
  const Input input{data.channels, data.height > 0 ? data.height : usual.height,
                    data.width > 0 ? data.width : usual.width};
  return new_model(make_model(name, input, data.classes, options), data, seed);
}

}  // namespace pleat
