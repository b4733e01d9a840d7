// Writes an executor's tape. Private to ops/exec/exec.cpp.
#pragma once

namespace pleat {

class Exec;

/// Fills the tape, the gradients' tensors and the memory of `exec`, whose plan stands.
void record_steps(Exec& exec);

}  // namespace pleat
