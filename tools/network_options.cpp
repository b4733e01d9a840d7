#include "tools/network_options.hpp"

namespace pleat {

void declare_network_options(Cli& cli) {
  cli.option("width", "X", "channels of a network called by name, MobileNetV2's, in place of the width in the name");
  cli.option("classes", "N", "its outputs (default: the data set's classes)");
  cli.option("input-size", "N", "its pictures are N x N pixels (default: the data set's, or the network's usual size)");
}

NetworkOptions network_options(const Cli& cli) {
  const auto integer = [&](const char* name, int64_t max) {
    return cli.has(name) ? std::optional(static_cast<int>(cli.integer(name, 1, max))) : std::nullopt;
  };
  return {.width = cli.has("width") ? std::optional(cli.number("width", 0.01, 8)) : std::nullopt,
          .classes = integer("classes", 1 << 20),
          .input_size = integer("input-size", 1 << 12)};
}

}  // namespace pleat
