// `--tune`: the algorithm for each pass of each convolution, timed on this machine once and remembered.
#pragma once

#include <string>

#include "core/graph.hpp"
#include "ops/exec/exec.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// Declares --tune.
void declare_tune(Cli& cli);

/// Letters for ExecOptions::algorithms, as --tune says: `auto` the fastest, `off` the usual ones, or the letters given.
/// Empty without oneDNN's kernels. `options` as they will be for training `graph`. Timings go into
/// $XDG_CACHE_HOME/pleat/tune.json (~/.cache without it), by processor, threads, library and shape; where that cannot
/// be read or written they are taken anew each time. Throws UsageError for letters that do not fit.
std::string tune(const Cli& cli, const Graph& graph, const ExecOptions& options);

}  // namespace pleat
