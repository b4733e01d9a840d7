// Fuzz target: any text as a graph. It is refused with a one-line std::invalid_argument, or prints to a text that
// parses back to an equal graph; its shapes and costs are computed, or refused in the same way.
#include <cstdint>
#include <stdexcept>
#include <string>

#include "ops/spec.hpp"
#include "tests/fuzz/must.hpp"

using namespace pleat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  try {
    const Graph graph = parse_graph({reinterpret_cast<const char*>(data), size});
    const std::string text = to_text(graph);
    must(parse_graph(text) == graph && to_text(parse_graph(text)) == text);
    for (const Parameter& parameter : parameters(graph)) must(num_elements(parameter.shape) > 0);
    must(macs(graph) >= 0 && parameter_count(graph) >= 0 && depth(graph) > 0 && conv_count(graph) >= 0);
  } catch (const std::invalid_argument& error) {
    must_be_one_line(error);
  }
  return 0;
}
