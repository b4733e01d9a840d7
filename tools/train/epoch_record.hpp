// What is recorded of each epoch of a training run.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace pleat {

struct EpochRecord {
  int64_t epoch = 0, epochs = 0;  ///< Number of the epoch, counted from 1, and how many there will be.
  double lr = 0;                  ///< Learning rate of its last step.
  double train_loss = 0, train_top1 = 0, test_loss = 0, test_top1 = 0;
  double seconds = 0;  ///< That its training steps took. Of an epoch that was resumed: since then.
  double images_per_second = 0;
  double data_wait = 0;                ///< Share of the seconds in which training waited for the loader.
  nlohmann::ordered_json alphas = {};  ///< Values of the trained alphas by name; null if there are none.
  bool classifies = true;  ///< False where features are learned: then `train_top1` means nothing, and is left out.
  bool tested = true;      ///< False where there is no test split: likewise `test_loss` and `test_top1`.
};

/// A line of the run log.
nlohmann::ordered_json to_json(const EpochRecord& record);

/// A line for people.
std::string to_text(const EpochRecord& record);

}  // namespace pleat
