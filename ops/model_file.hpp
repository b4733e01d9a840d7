// The one file that holds a network and its weights: a safetensors file with a tensor a parameter, and in
// `__metadata__`
//   pleat.graph             the graph's text (core/graph.hpp)
//   pleat.mean, pleat.std   input normalisation, one number a channel, comma-separated
//   pleat.crop, pleat.interpolation
//                           what of a picture file is seen, and how it is scaled; older files have neither, and mean
//                           the usual crop, bilinear
//   pleat.classes           class names, one a line; empty where unknown
//   anything else           provenance (Model::notes)
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "core/model.hpp"

namespace pleat {

/// Graph and parameters agree (ops/spec.hpp), mean and std are finite and one a channel, std > 0, crop is above 0 and
/// at most 1, classes are none or one an output, no note takes a key of the format. Throws std::invalid_argument.
void verify(const Model& model);

/// Decodes and verifies a model file already in memory; `name` is for messages. Throws std::runtime_error.
Model parse_model(std::span<const std::byte> bytes, const std::string& name);

/// Reads and verifies a model file. Throws std::runtime_error naming the file and the reason.
Model load_model(const std::string& path);

/// All of a model file but the tensors: what stands in its `__metadata__`.
std::map<std::string, std::string> metadata(const Model& model);

/// Verifies and writes a model file through write_file: a failure leaves an existing file whole. Numbers read back
/// identically. Throws std::invalid_argument for a bad model, std::runtime_error for a failing disk.
void save_model(const std::string& path, const Model& model);

}  // namespace pleat
