// The data set that a model is trained or evaluated on, with the labels in the order of the model's outputs, and what
// the user should know of it.
#pragma once

#include <string>

#include "core/model.hpp"
#include "data/dataset.hpp"

namespace pleat {

/// Reads one split of a data set (a name, or a folder) for `model`. The labels of a picture folder follow the class
/// list in the file or folder `class_list`. If that is empty, they follow the model's class names, provided that these
/// include every class folder; otherwise they follow the sorted names of the class folders. Prints the data set's
/// warning, as print_warning does. Throws as load_dataset and read_class_list do.
Dataset load_dataset_for(const Model& model, const std::string& name_or_dir, Split split, const std::string& class_list,
                         bool quiet);

/// Prints the data set's warning, if it has one, on standard error unless `quiet`.
void print_warning(const Dataset& data, bool quiet);

}  // namespace pleat
