// The whole state of a training run in one safetensors file, so that a resumed run goes on bit for bit: parameters,
// velocities, and counters as JSON. Random numbers need none: they are counted by epoch and picture.
#pragma once

#include <cstdint>
#include <string>

#include "core/model.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

/// Where a run stands. Sums are over the part of the current epoch that is done.
struct RunState {
  int64_t epoch = 0;  ///< Epochs finished.
  int64_t batch = 0;  ///< Batches finished of the next one.
  double loss_sum = 0;
  int64_t correct = 0, seen = 0;
  double last_loss = 0;  ///< Mean training loss of the last whole epoch.
  double best_top1 = -1;
  double train_seconds = 0, total_seconds = 0;
  int64_t train_images = 0;
};

/// Writes model, velocities and state. `recipe` is kept to tell another run's state from this one's.
void save_checkpoint(const std::string& path, const Recipe& recipe, const RunState& state, const Model& model,
                     const Tensors& velocities);

/// Reads them into `model` (whose graph must be the file's) and `velocities`. Throws std::runtime_error naming the file
/// and the first setting that differs from `recipe`.
RunState load_checkpoint(const std::string& path, const Recipe& recipe, Model& model, Tensors& velocities);

/// Recipe::algorithms of the run whose state `path` is. Throws as load_checkpoint does, if `recipe` differs otherwise.
std::string saved_algorithms(const std::string& path, Recipe recipe);

/// True if `path` is the state of a run that has epochs left: it must not be overwritten by accident.
bool is_unfinished(const std::string& path);

}  // namespace pleat
