#include "core/cores.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace pleat {
namespace {

namespace fs = std::filesystem;

/// The least quota of the group at `path` below `mount` and of those around it, each told by read(folder).
template <class Read>
std::optional<double> least_quota(const fs::path& mount, fs::path path, const Read& read) {
  std::optional<double> least;
  for (;; path = path.parent_path()) {
    if (const std::optional<double> quota = read(mount / path.relative_path()))
      least = std::min(least.value_or(*quota), *quota);
    if (!path.has_relative_path()) return least;
  }
}

// "max 100000" or "150000 100000": of each period of so many microseconds, how many the group may compute.
std::optional<double> quota_of_version_2(const fs::path& folder) {
  std::ifstream file(folder / "cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

std::optional<double> quota_of_version_1(const fs::path& folder) {
  std::ifstream quota_file(folder / "cpu.cfs_quota_us"), period_file(folder / "cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;  // -1: no limit
}

}  // namespace

std::vector<int> allowed_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {  // more than 1024 CPUs
    for (unsigned cpu = 0; cpu < std::max(std::thread::hardware_concurrency(), 1u); ++cpu)
      cores.push_back(static_cast<int>(cpu));
    return cores;
  }
  std::set<std::string> seen;  // a core is named by the list of its hyper-threads
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings) || seen.insert(siblings).second) cores.push_back(cpu);
  }
  return cores;
}

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  std::ifstream groups(root / "proc/self/cgroup");  // "0::/path" (version 2), "4:cpu,cpuacct:/path"
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const fs::path mount = root / "sys/fs/cgroup";
    std::optional<double> quota;
    if (controllers.empty()) {
      quota = least_quota(mount, path, quota_of_version_2);
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      quota = least_quota(mount / controllers, path, quota_of_version_1);
      if (!quota) quota = least_quota(mount / "cpu", path, quota_of_version_1);
    }
    if (quota) least = std::min(least.value_or(*quota), *quota);
  }
  return least;
}

int default_threads() {
  const double quota = cpu_quota().value_or(HUGE_VAL);
  return std::max(1, static_cast<int>(std::min<double>(static_cast<double>(allowed_cores().size()), std::ceil(quota))));
}

}  // namespace pleat
