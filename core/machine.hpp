// What computes here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pleat {

struct Machine {
  std::string cpu = "unknown";        ///< Its model.
  std::vector<std::string> features;  ///< Instruction sets that decide which kernels run.
  std::string onednn;                 ///< Version of the library that runs.
};
Machine read_machine();

/// What all threads of this process together have done since it was started.
struct CpuUse {
  double seconds = 0;       ///< CPU time.
  int64_t preemptions = 0;  ///< How often a thread has lost its core while it computed. Rare on a quiet machine.
};
CpuUse cpu_use();

/// The most memory that this process has had, in bytes.
double peak_memory();

}  // namespace pleat
