// The model file, which holds a network with its weights: a safetensors file with one tensor for each parameter, and in
// its `__metadata__`
//   pleat.graph             the graph in its text form (core/graph.hpp)
//   pleat.mean, pleat.std   the normalisation of the input, one number for each channel, separated by commas
//   pleat.crop, pleat.interpolation
//                           which part of a picture file is used, and how it is scaled. Older files have neither; then
//                           the usual crop and bilinear interpolation are meant
//   pleat.classes           the class names, one on each line; empty if they are unknown
//   anything else           provenance (Model::notes)
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "core/model.hpp"
#include "core/safetensors.hpp"

namespace pleat {

/// Checks that graph and parameters agree (ops/spec.hpp), that there is one finite mean and one finite std above 0 for
/// each channel, that the crop is above 0 and at most 1, that there are either no class names or one for each output,
/// and that no note has a key of the format. Throws std::invalid_argument.
void verify(const Model& model);

/// The model that the content of a file is, verified; `name` is what messages call it. Throws std::runtime_error.
Model make_model(SafetensorsFile file, const std::string& name);

/// Decodes and verifies a model file that is in memory; `name` is what messages call it. Throws std::runtime_error.
Model parse_model(std::span<const std::byte> bytes, const std::string& name);

/// Reads and verifies a model file. Throws std::runtime_error naming the file and the reason.
Model load_model(const std::string& path);

/// The `__metadata__` of a model's file, which is all of it but the tensors.
std::map<std::string, std::string> metadata(const Model& model);

/// Verifies a model and writes its file by write_file, so that a failure leaves an existing file as it was. Numbers
/// read back identically. Throws std::invalid_argument for a bad model and std::runtime_error if the disk fails.
void save_model(const std::string& path, const Model& model);

}  // namespace pleat
