// The training loop, for training from scratch, for pre-folding and for fine-tuning alike: tools/train/recipe.hpp says
// how they differ.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/train/epoch_record.hpp"
#include "tools/train/recipe.hpp"
#include "tools/train/training_data.hpp"

namespace pleat {

/// Is told how a run gets on, for instance to log a run as part of a longer experiment.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  /// Before the first step of this session, with the number of epochs that earlier sessions finished.
  virtual void begins(int64_t epochs_done) = 0;
  /// After each epoch, when its files but the state are written: an epoch that is killed here is done again.
  virtual void finished(const EpochRecord& record) = 0;
  /// A remark for the progress line, with the number of epochs done so far.
  virtual std::string remark(double epochs_done) = 0;
};

struct TrainOptions {
  bool resume = false;              ///< Go on where the state in the folder stands, if there is one.
  bool overwrite = false;           ///< Remove the run that the folder holds, finished or not.
  bool quiet = false;               ///< Print no progress.
  bool keep_best = true;            ///< Write best.safetensors.
  const Model* teacher = nullptr;   ///< Whose logits are learned as well, or whose features; must outlive the run.
  RunObserver* observer = nullptr;  ///< Likewise.
};

struct TrainResult {
  double top1 = 0, test_loss = 0;        ///< Of the final weights on the whole test split.
  bool tested = true;                    ///< Whether there was one.
  double loss = 0;                       ///< Mean training loss of the last epoch.
  double images_per_second = 0;          ///< Of the training steps alone, without evaluation.
  double seconds = 0;                    ///< Of the whole run, summed over the sessions of a resumed one.
  std::vector<std::string> broken = {};  ///< Picture files that this session passed over, with the reasons.
};

/// Trains `model` in place; where features are learned, the part before them (feature_part). After each epoch it writes
/// into the folder `out`, which is made if it is absent:
///   model.safetensors  the weights as they are now
///   best.safetensors   the weights with the highest test top-1 so far
///   log.jsonl          one more line (EpochRecord)
///   state.safetensors  what a resumed run needs to go on bit for bit (tools/train/checkpoint.hpp)
///   pictures.index     of picture folders alone: by which a resumed run can tell whether the pictures have changed
/// Where `mpirun` started several ranks (core/mpi.hpp), the first calls this, and the others take part by
/// work_for_first_rank() (tools/train/rank_jobs.hpp). Each trains on its part of every batch, and only the first
/// writes. SIGINT, SIGTERM and SIGHUP save the state after the step in hand and throw Interrupted. Throws
/// std::invalid_argument if model, data and recipe do not fit together, std::runtime_error if `out` holds an unfinished
/// run that is not to be resumed, if it cannot be written, or if a loss or gradient is not finite; the message names
/// the op that made it.
TrainResult run_training(Model& model, const TrainingData& data, const Recipe& recipe, const std::string& out,
                         const TrainOptions& options = {});

}  // namespace pleat
