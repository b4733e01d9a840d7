// Fuzz target: any text as a graph. It is refused with a one-line std::invalid_argument, or prints to a text that
// parses back to an equal graph; its shapes and costs are computed, or refused in the same way.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "ops/spec.hpp"

using namespace pleat;

namespace {

void must(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  try {
    const Graph graph = parse_graph({reinterpret_cast<const char*>(data), size});
    const std::string text = to_text(graph);
    must(parse_graph(text) == graph && to_text(parse_graph(text)) == text);
    for (const Parameter& parameter : parameters(graph)) must(num_elements(parameter.shape) > 0);
    must(macs(graph) >= 0 && parameter_count(graph) >= 0 && depth(graph) > 0 && conv_count(graph) >= 0);
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    must(message.find('\n') == std::string::npos && message.size() < 10'000);
  }
  return 0;
}
