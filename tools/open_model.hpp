// The argument MODEL of a command line: a name of `pleat list`, or a model file.
#pragma once

#include <cstdint>
#include <string>

#include "core/model.hpp"
#include "tools/train/named_model.hpp"

namespace pleat {

/// The model in the file; or the named network with start weights from `seed`, made for the data set `dataset` (a name
/// or a folder; empty: the usual one), with one output for each line of the class list, if there is one, and otherwise
/// as `options` say. Throws std::invalid_argument for what is neither a name nor a file, UsageError for options that
/// come with a file, std::runtime_error for a bad file.
Model open_model(const std::string& name_or_file, uint64_t seed, const std::string& dataset = "",
                 const std::string& class_list = "", const NetworkOptions& options = {});

}  // namespace pleat
