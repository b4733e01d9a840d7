#include "tools/engine_options.hpp"

namespace pleat {

void declare_engine_tune(Cli& cli) {
  cli.option(
      "tune", "HOW",
      "how a layer is computed: auto (the fastest way, timed once on this machine and remembered) or off (chosen by "
      "rules, so that loading takes no time for measuring)",
      "auto");
}

std::vector<EngineOptions> engine_options_each(const Cli& cli, int64_t batch) {
  const bool tune = cli.choice("tune", {"auto", "off"}) == "auto";
  std::vector<EngineOptions> all;
  for (const Dtype dtype : cli.dtypes()) all.push_back({.batch = batch, .dtype = dtype, .tune = tune});
  return all;
}

EngineOptions engine_options(const Cli& cli, int64_t batch) {
  cli.dtype();  // throws if several were given
  return engine_options_each(cli, batch).front();
}

}  // namespace pleat
