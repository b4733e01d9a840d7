// How many cores this process may use.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace pleat {

/// One logical CPU, the lowest, of each physical core that the process's affinity mask allows. Hyper-threads share a
/// core's arithmetic units, so a second thread on a core would gain nothing here.
std::vector<int> allowed_cores();

/// How many cores' worth of CPU time control groups grant this process: the least that its own group and those around
/// it say ("cpu.max" of version 2, "cpu.cfs_quota_us" of version 1), or none if there is no limit. `root` is the folder
/// that has /proc and /sys.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// How many threads can run at once: one for each of allowed_cores(), or the quota, rounded up, if that is less.
int default_threads();

}  // namespace pleat
