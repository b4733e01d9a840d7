#include "tools/engine_options.hpp"

namespace pleat {

void declare_engine_tune(Cli& cli) {
  cli.option("tune", "HOW",
             "ways to compute a layer: auto (the fastest, timed once on this machine and remembered) or off (by rule, "
             "which loads at once)",
             "auto");
}

EngineOptions engine_options(const Cli& cli, int64_t batch) {
  return {.batch = batch, .dtype = cli.dtype(), .tune = cli.choice("tune", {"auto", "off"}) == "auto"};
}

}  // namespace pleat
