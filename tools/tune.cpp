#include "tools/tune.hpp"

#include <optional>
#include <stdexcept>

#include "core/check.hpp"
#include "core/progress.hpp"
#include "ops/conv/tune_training.hpp"

namespace pleat {

void declare_tune(Cli& cli) {
  cli.option("tune", "HOW",
             "algorithms of convolutions: auto (the fastest, timed once and remembered), off (by rule), or letters as "
             "another run noted them in its recipe",
             "auto");
}

std::string tune(const Cli& cli, const Graph& graph, const ExecOptions& options) {
  const std::string& how = cli.text("tune");
  if (how == "auto") {
    std::optional<Progress> progress;
    return tune_training(graph, options, [&](int64_t done, int64_t total) {
      if (!progress) progress.emplace("timing convolutions", "convolutions", total, cli.quiet());
      progress->update(done);
    });
  }
  try {
    return training_algorithms(graph, options, how == "off" ? "" : how);
  } catch (const std::invalid_argument& error) {
    cli.usage_error(concat("--tune: ", error.what()));
  }
}

}  // namespace pleat
