#include "tools/open_model.hpp"

#include <algorithm>
#include <filesystem>

#include "core/check.hpp"
#include "data/image_folder.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"

namespace pleat {
namespace {

// What ImageNet networks are trained on; there is no set to ask.
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

Model named_model(const std::string& name, const DatasetInfo& data, uint64_t seed, const ModelOptions& options) {
  const DatasetInfo usual = usual_dataset(name);
  const Input input{data.channels, data.height > 0 ? data.height : usual.height,
                    data.width > 0 ? data.width : usual.width};
  Model model;
  model.graph = make_model(name, input, data.classes, options);
  model.tensors = initial_tensors(model.graph, seed);
  model.mean = data.mean;
  model.std = data.std;
  model.crop = usual_crop(input);
  return model;
}

Model open_model(const std::string& name_or_file, uint64_t seed, const std::string& dataset,
                 const std::string& class_list, const NetworkOptions& options) {
  const std::vector<std::string> names = model_names();
  if (std::find(names.begin(), names.end(), name_or_file) == names.end()) {
    PLEAT_CHECK(name_or_file.ends_with(".safetensors") || std::filesystem::exists(name_or_file), "model '",
                name_or_file, "': neither a known name nor a file\nhint: `pleat list` prints the names");
    if (options.any())
      throw UsageError(concat("--width, --classes and --input-size make a network called by name; the file ",
                              name_or_file, " has its own"));
    return load_model(name_or_file);
  }
  DatasetInfo data = dataset.empty() ? usual_dataset(name_or_file) : dataset_info(dataset);
  if (!class_list.empty()) data.classes = static_cast<int>(read_class_list(class_list).size());
  return named_model(name_or_file, resized(data, options), seed, {.width = options.width});
}

}  // namespace pleat
