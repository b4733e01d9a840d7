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

/// Of all threads of this process, since it was started.
struct CpuUse {
  double seconds = 0;  ///< That they have computed, added up.
  int64_t preemptions =
      0;  ///< How often one has lost its core while it computed: seldom, unless others want the cores.
};
CpuUse cpu_use();

/// The most memory that this process has had, in bytes.
double peak_memory();

}  // namespace pleat
