// Many networks timed against the first, by the inference engine on this CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "fold/merge_candidates.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// --batch, --seconds, --tune and --dtype bf16.
void declare_stopwatch(Cli& cli, const char* seconds);

/// Times with the options' batch, threads, dtype and tuning for about --seconds (five rounds at least): prepares all
/// networks, the first in eight copies for its accuracy and in one that only tells how fast the machine is at the time;
/// then visits them in rounds of random order, and that one before every eighth. A visit is a call that does not count,
/// for the caches' sake, and the fastest of three that do, which an interruption seldom hits. A network's seconds are
/// the median of its visits' ratios to that one's last, times the median of that one's.
Stopwatch make_stopwatch(const Cli& cli);

}  // namespace pleat
