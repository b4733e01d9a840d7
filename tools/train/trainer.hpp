// The training loop of `train`, `prefold` and `finetune`.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

struct TrainResult {
  double top1 = 0, test_loss = 0;        ///< Of the final weights on the whole test split.
  double loss = 0;                       ///< Mean training loss of the last epoch.
  double images_per_second = 0;          ///< Training steps alone, without evaluation.
  double seconds = 0;                    ///< All of it, over all sessions of a resumed run.
  std::vector<std::string> broken = {};  ///< Picture files that this session has passed over, with the reasons.
};

/// Trains `model` in place and writes into `out` (made if absent) after each epoch model.safetensors (the weights now),
/// best.safetensors (those with the highest test top-1 so far), log.jsonl (a line) and state.safetensors; for picture
/// folders also pictures.index, by which a resumed run tells whether they have changed. Ctrl-C saves
/// the state at the next step and throws Interrupted. With `resume` it goes on where state.safetensors stands. A loss
/// or gradient that is not finite throws std::runtime_error naming the first op that made it.
TrainResult run_training(Model& model, const Recipe& recipe, const std::string& out, bool resume, bool quiet);

}  // namespace pleat
