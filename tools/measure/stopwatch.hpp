// Compares the latency of many networks with that of the first one, by the inference engine on this CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "fold/merge_candidates.hpp"
#include "tools/cli.hpp"

namespace pleat {

/// Declares --batch, --seconds (with this default) and --tune, and accepts --dtype bf16.
void declare_stopwatch(Cli& cli, const char* seconds);

/// Makes a stopwatch that measures with the options' batch, threads, precision and tuning for about --seconds, but for
/// at least five rounds. All engines are prepared first. A round visits every engine once, in random order. A visit is
/// one call that only fills the caches, and then the fastest of three measured calls, which a disturbance seldom
/// affects.
///
/// The speed of a machine drifts. So a reference engine, which runs the first network, is visited before every eighth
/// visit, and what counts is the ratio of a visit's time to that of the reference's last visit. The time of a network
/// is the median of its ratios, multiplied by the reference's median time. All results are compared with that of the
/// first network, so this one has eight engines besides the reference, to be measured more exactly.
Stopwatch make_stopwatch(const Cli& cli);

}  // namespace pleat
