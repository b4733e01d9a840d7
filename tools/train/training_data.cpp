#include "tools/train/training_data.hpp"

#include "core/hash.hpp"
#include "data/dataset_for.hpp"
#include "data/image_folder.hpp"

namespace pleat {

TrainingData load_training_data(const Model& model, const Recipe& recipe, bool quiet) {
  if (recipe.learns_features()) {
    TrainingData data{.train = load_unlabelled(recipe.data), .test = {}};
    print_warning(data.train, quiet);
    if (!recipe.val.empty()) data.test = load_dataset_for(model, recipe.val, Split::test, recipe.class_list, quiet);
    return data;
  }
  return {.train = load_dataset_for(model, recipe.data, Split::train, recipe.class_list, quiet),
          .test = load_dataset_for(model, recipe.data, Split::test, recipe.class_list, quiet)};
}

Augment augmentation(const Dataset& data, const Recipe& recipe) {
  // Digits and letters are not the same when they are mirrored; everything else is.
  return {.resized_crop = !data.files.empty(),
          .crop_pad = data.height >= 32 ? 4 : 2,
          .flip = data.name != "mnist" && data.name != "idx",
          .alternate_flip = recipe.alternate_flip,
          .cutout = static_cast<int>(recipe.cutout)};
}

std::string content_hash(const TrainingData& data) {
  ContentHash hash;
  for (const Dataset* split : {&data.train, &data.test}) {
    hash.add(std::as_bytes(std::span(split->labels)));
    hash.add(std::as_bytes(std::span(split->images)));
  }
  return hash.text();
}

}  // namespace pleat
