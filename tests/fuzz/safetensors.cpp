// Fuzz target: any bytes as a safetensors file and as a model file. They are read or refused with a one-line
// std::runtime_error, and what is read agrees with itself.
#include "core/safetensors.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>

#include "ops/model_file.hpp"
#include "tests/fuzz/must.hpp"

using namespace pleat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    std::size_t elements = 0;
    for (const auto& [name, tensor] : parse_safetensors(bytes, "fuzz").tensors) {
      must(static_cast<int64_t>(tensor.values.size()) == num_elements(tensor.shape));
      elements += tensor.values.size();
    }
    must(elements <= size / 2);  // two bytes are the smallest number
  } catch (const std::runtime_error& error) {
    must_be_one_line(error, "fuzz: ");
  }
  try {
    verify(parse_model(bytes, "fuzz"));
  } catch (const std::runtime_error& error) {
    must_be_one_line(error, "fuzz: ");
  }
  return 0;
}
