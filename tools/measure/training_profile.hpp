// A training step, op by op.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>

#include "core/model.hpp"
#include "ops/exec/exec.hpp"

namespace pleat {

/// Mean of `steps` training steps: for each step of the tape its kind, name, milliseconds (forward; values computed
/// again; backward; once a batch), GFLOP/s, GB/s (each value that it reads or writes moved once) and their shares of
/// the peak (tools/measure/machine_peak.hpp). `options` as for time_training.
nlohmann::ordered_json profile_training(Model model, const ExecOptions& options, int64_t steps);

/// The same as a table, with a line for each kind of op at its end.
void print_profile(std::ostream& out, const nlohmann::ordered_json& profile);

}  // namespace pleat
