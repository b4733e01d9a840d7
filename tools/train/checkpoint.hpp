// The state of a training run in one safetensors file, from which it goes on bit for bit: parameters, the optimiser's
// velocities, running averages of the weights if there are any, and counters as JSON. Random numbers have no state of
// their own, since they depend on the seed, the epoch and the picture alone.
#pragma once

#include <cstdint>
#include <string>

#include "core/model.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

/// Where a run stands.
struct RunState {
  int64_t epoch = 0;              ///< Number of finished epochs.
  int64_t batch = 0;              ///< Number of finished batches in the epoch after those.
  double loss_sum = 0;            ///< Sum of the loss over the pictures of those batches,
  int64_t correct = 0, seen = 0;  ///< how many of them were classified correctly, and how many they are.
  double last_loss = 0;           ///< Mean training loss of the last finished epoch.
  double best_top1 = -1;          ///< Highest test top-1 after any epoch so far; -1 before the first.
  double train_seconds = 0;       ///< Time that training steps took, in all sessions,
  double total_seconds = 0;       ///< and with evaluation.
  double lambda = 0;              ///< Weight of the alphas' loss in the epoch after those,
  int64_t arrived = 0;            ///< and how many alphas had arrived at 1 when it was last adapted.
  int64_t train_images = 0;       ///< Pictures that were trained on in train_seconds.
  int ranks = 1;                  ///< Of the session that saved it (core/process_group.hpp).
};

/// What changes during a run besides its RunState. `averages` is null if the recipe has none.
struct RunTensors {
  Tensors* parameters;
  Tensors* velocities;
  Tensors* averages;
};

/// Hashes of what a run began with (core/hash.hpp), by which a resumed run notices that a file of the same name holds
/// something else by now.
struct RunContents {
  std::string start;    ///< Of the model's tensors before the first step,
  std::string data;     ///< of both splits' labels and of their pictures if those are in memory,
  std::string teacher;  ///< and of the teacher's tensors; empty without one.
};

/// Writes the tensors, the state, the graph and the recipe, by which another run's state is told from
/// this one's.
void save_checkpoint(const std::string& path, const Recipe& recipe, const RunContents& contents, const RunState& state,
                     const Graph& graph, const RunTensors& tensors);

/// Reads the file into `tensors` and returns the state; `graph` must be the one that was saved.
/// Throws std::runtime_error naming the file, and the first setting of the run there that is not as in `recipe`.
/// The same goes for `contents`; files from before they were noted have none, and are believed.
RunState load_checkpoint(const std::string& path, const Recipe& recipe, const RunContents& contents, const Graph& graph,
                         const RunTensors& tensors);

/// The algorithms (Recipe::algorithms) that the run whose state is in `path` computes with. Throws as load_checkpoint
/// does if `recipe` differs from that run's in anything else.
std::string saved_algorithms(const std::string& path, Recipe recipe);

/// The number of epochs, finished or not, of the run whose state is in `path`. Throws std::runtime_error if it has
/// none.
int64_t saved_epochs(const std::string& path);

/// True if `path` holds the state of a run with epochs left, which must not be overwritten by accident.
bool is_unfinished(const std::string& path);

}  // namespace pleat
