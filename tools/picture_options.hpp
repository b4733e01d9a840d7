// The options that say how picture files become a network's input, and labels; commands that look at pictures share
// them. Free of BLAS: pleat-run has them too.
#pragma once

#include <cstdint>
#include <string>

#include "core/model.hpp"
#include "data/dataset.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// --crop, --resize and --interpolation, which change what the model file says.
void declare_view_options(Cli& cli);

/// Puts them, where given, into the model. Throws UsageError.
void set_view(const Cli& cli, Model& model);

/// --class-list and --broken, for commands with --data.
void declare_folder_options(Cli& cli);

/// --broken skip.
bool skips_broken(const Cli& cli);

/// --class-list, or nothing.
std::string class_list_option(const Cli& cli);

/// Reads a split for `model`, and prints what there is to warn of unless `quiet`. The labels of a picture folder are
/// those of the class list at `class_list`; with none those of the model's class names, if all class folders are among
/// them; else the folders' order. Throws as load_dataset and read_class_list do.
Dataset load_dataset_for(const Model& model, const std::string& name_or_dir, Split split, const std::string& class_list,
                         bool quiet);

/// Pictures at once where nothing else is asked for: enough to keep a CPU busy, few enough for photographs.
inline constexpr int64_t kUsualBatch = 50;

/// Worker threads of a loader: pictures in memory need one.
int loader_threads(const Dataset& data);

}  // namespace pleat
