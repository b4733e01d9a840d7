// What computes here.
#pragma once

#include <string>
#include <vector>

namespace pleat {

struct Machine {
  std::string cpu = "unknown";        ///< Its model.
  std::vector<std::string> features;  ///< Instruction sets that decide which kernels run.
  std::string onednn;                 ///< Version of the library that runs.
};
Machine read_machine();

/// The most memory that this process has had, in bytes.
double peak_memory();

}  // namespace pleat
