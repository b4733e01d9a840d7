#include "tools/network_options.hpp"

namespace pleat {

void declare_network_options(Cli& cli) {
  cli.option("width", "X", "multiplier of the channels of MobileNetV2, instead of the width in its name");
  cli.option("classes", "N", "number of outputs of a network given by name (default: the data set's classes)");
  cli.option("input-size", "N",
             "size of its pictures, N x N pixels (default: the data set's, or the network's usual size)");
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
