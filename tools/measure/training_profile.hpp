// Shows where the time of a training step goes, op by op.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>

#include "core/model.hpp"
#include "ops/exec/exec.hpp"

namespace pleat {

/// Averages over `steps` training steps. The JSON has for each tape step its kind, its name, its milliseconds in the
/// forward pass, for recomputing values, in the backward pass and once per batch, its GFLOP/s, its GB/s (counting every
/// value that it reads or writes once), and their shares of the peak (tools/measure/machine_peak.hpp). `options` are
/// those of time_training.
nlohmann::ordered_json profile_training(Model model, const ExecOptions& options, int64_t steps);

/// Prints the profile as a table that ends with one line for each kind of op.
void print_profile(std::ostream& out, const nlohmann::ordered_json& profile);

}  // namespace pleat
