#include "core/machine.hpp"

#include <sys/resource.h>

#include <array>
#include <fstream>
#include <set>
#include <sstream>

#include "core/onednn.hpp"

namespace pleat {
namespace {

constexpr std::array kFeatures = {"avx",      "avx2",        "fma",         "f16c",     "avx512f", "avx512bw",
                                  "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"};

}  // namespace

Machine read_machine() {
  Machine machine;
  machine.onednn = onednn::version();
  std::set<std::string> flags;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) machine.cpu = line.substr(colon + 2);
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(colon + 2));
    for (std::string word; words >> word;) flags.insert(word);
    break;  // all cores say the same
  }
  for (const char* feature : kFeatures)
    if (flags.contains(feature)) machine.features.emplace_back(feature);
  return machine;
}

CpuUse cpu_use() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return {seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_nivcsw};
}

double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

}  // namespace pleat
