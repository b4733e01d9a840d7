// The safetensors format (https://github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {text: text}}, then the bytes. F32 alone is kept
// in memory; F64, F16, BF16 and I64 (PyTorch's counters) are converted on reading. Every size is checked against the
// file's before it is used; a hostile file gives an error, never a crash.
#pragma once

#include <map>
#include <span>
#include <string>

#include "core/tensor.hpp"

namespace pleat {

struct SafetensorsFile {
  Tensors tensors;
  std::map<std::string, std::string> metadata;
};

/// Decodes a whole file already in memory; `name` is for messages (fuzzed). Tensors of other types than those above are
/// an error, or, where `other_types` is given, left out and listed there with their types. Throws std::runtime_error.
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name,
                                  std::map<std::string, std::string>* other_types = nullptr);

/// Reads a file. Throws std::runtime_error naming it and the reason.
SafetensorsFile load_safetensors(const std::string& path);

/// Writes F32 tensors and metadata through write_file. Throws std::invalid_argument for what would not be read back (a
/// name that is empty, over 1024 bytes or has a control character; text that is not UTF-8), std::runtime_error for a
/// failing disk.
void save_safetensors(const std::string& path, const Tensors& tensors,
                      const std::map<std::string, std::string>& metadata);

}  // namespace pleat
