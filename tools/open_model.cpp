#include "tools/open_model.hpp"

#include <algorithm>
#include <filesystem>

#include "core/check.hpp"
#include "data/image_folder.hpp"
#include "ops/model_file.hpp"
#include "tools/cli.hpp"

namespace pleat {

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
