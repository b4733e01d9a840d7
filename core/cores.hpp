// How many cores this process may use.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace pleat {

/// One logical CPU for each physical core that the process's affinity mask allows, the lowest of each: hyper-threads
/// share a core's arithmetic units, so that a second one on a core gains nothing here.
std::vector<int> allowed_cores();

/// The cores' worth of CPU time that control groups grant this process ("cpu.max" of its group and of those around it,
/// version 2; "cpu.cfs_quota_us", version 1), the least of them; none without a limit. `root` is where /proc and /sys
/// are.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// As many threads as can run at once: allowed_cores(), or the quota, rounded up, if that is less.
int default_threads();

}  // namespace pleat
