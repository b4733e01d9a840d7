// Many networks timed against the first, by the inference engine on this CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "fold/candidates.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// --batch and --seconds.
void declare_stopwatch(Cli& cli, const char* seconds);

/// Times with the options' batch and threads for about --seconds: prepares all networks, then visits them in rounds of
/// random order and the first before every eighth. A visit is a call that does not count, for the caches' sake, and two
/// that do. The seconds of a network are the first one's median times the median of the ratios to its last visit.
Stopwatch make_stopwatch(const Cli& cli);

}  // namespace pleat
