// PyTorch's state_dicts, saved as safetensors, with the names that Pleat's networks have.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/model.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// What a code base does with its networks besides naming their parameters. The same names may belong to networks that
/// were made otherwise, which no checkpoint tells; `alternative` says how to import those.
struct SourceHabits {
  std::string name;           ///< The code base; empty if nothing told it.
  std::string normalisation;  ///< What its networks expect of their input: see import's --normalisation.
  Interpolation interpolation = Interpolation::bilinear;  ///< By which its published accuracies scale the pictures.
  std::string alternative;                                ///< Empty, or one sentence.
};

struct StateDict {
  Tensors tensors;                           ///< By Pleat's names.
  std::map<std::string, std::string> names;  ///< Pleat's name to the file's.
  std::map<std::string, std::string> types;  ///< Pleat's name to the type, for tensors of a type that is not read.
  std::vector<std::string> copies;           ///< The file's names of what is no network: counters, averages of weights,
                                             ///< the optimiser's state.
  std::string prefix;                        ///< What was taken off before every name.
  SourceHabits source;
};

/// How the names of a file are to be changed first.
struct NameOptions {
  std::vector<std::pair<std::string, std::string>> renames;  ///< Parts of names, between dots, and what they become.
  std::string prefix;  ///< Only what stands below it is the network; empty: it is found.
};

/// Reads `path` as weights of the network called `model`, whatever code base of those known wrote it; `needed` are the
/// names of its parameters, by which a prefix that a wrapper put before all names is found. Throws std::runtime_error
/// for a bad file, for two tensors that get the same name, two networks in one file, and a renaming that finds nothing.
StateDict read_state_dict(const std::string& path, const std::string& model, const std::vector<std::string>& needed,
                          const NameOptions& options);

}  // namespace pleat
