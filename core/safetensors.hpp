// Reads and writes the safetensors format (https://github.com/huggingface/safetensors). A file has the length of its
// header in 8 bytes, little-endian, then the header, which is the JSON object
//   {"name": {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "text", ...}},
// then the bytes of the tensors. In memory all tensors are F32; F64, F16, BF16 and I64 (which PyTorch uses for
// counters) are converted when they are read. Every size is checked against the size of the file before it is used, so
// a malicious file causes an error and never a crash.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.hpp"

namespace pleat {

/// The content of a file.
struct SafetensorsFile {
  Tensors tensors;
  std::map<std::string, std::string> metadata;
};

/// Decodes a file that is in memory; `name` stands for the file in error messages. Tensors of other types than those
/// above are an error, or, where `other_types` is given, left out and listed there with their types. Throws
/// std::runtime_error. (This is the function that `make fuzz` tests.)
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name,
                                  std::map<std::string, std::string>* other_types = nullptr);

/// Returns the bytes of a file after its first ones were judged, so that a large file of another kind is refused before
/// it is read. Throws std::runtime_error `path: reason`.
std::vector<std::byte> read_safetensors(const std::string& path);

/// Reads a file. Throws std::runtime_error `path: reason`.
SafetensorsFile load_safetensors(const std::string& path);

/// Writes tensors and metadata with write_file. Throws std::invalid_argument for what could not be read back: a name
/// that is empty, longer than 1024 bytes or contains a control character, and text that is not UTF-8. Throws
/// std::runtime_error if the file cannot be written.
void save_safetensors(const std::string& path, const Tensors& tensors,
                      const std::map<std::string, std::string>& metadata);

}  // namespace pleat
