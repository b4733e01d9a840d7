#include "data/dataset_for.hpp"

#include <algorithm>
#include <cstdio>

#include "data/image_folder.hpp"

namespace pleat {
namespace {

bool names_every_folder(const std::vector<std::string>& classes, const std::string& dir) {
  return std::ranges::all_of(image_folder_classes(dir), [&](const std::string& folder) {
    return std::ranges::find(classes, folder) != classes.end();
  });
}

}  // namespace

Dataset load_dataset_for(const Model& model, const std::string& name_or_dir, Split split, const std::string& class_list,
                         bool quiet) {
  std::vector<std::string> order;
  if (!class_list.empty())
    order = read_class_list(class_list);
  else if (!model.classes.empty() && holds_image_folder(name_or_dir) && names_every_folder(model.classes, name_or_dir))
    order = model.classes;
  Dataset data = load_dataset(name_or_dir, split, order);
  print_warning(data, quiet);
  return data;
}

void print_warning(const Dataset& data, bool quiet) {
  if (!data.warning.empty() && !quiet) std::fprintf(stderr, "pleat: warning: %s\n", data.warning.c_str());
}

}  // namespace pleat
