// The record of a training run: JSON lines, one an epoch, each with its number, from 1, under "epoch".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pleat {

/// Every line is on disk when `append` returns. Not for several threads or processes at once.
class RunLog {
 public:
  /// keep_epochs = 0 starts a new log, in place of any old one. Otherwise lines of later epochs are dropped, and so is
  /// a last line that a crash cut short; a missing file counts as empty. Throws std::runtime_error `path: reason` if
  /// the file cannot be written or another line is not an epoch's.
  explicit RunLog(std::string path, int64_t keep_epochs = 0);

  /// Adds one line. Throws std::invalid_argument if the entry has no "epoch" number, std::runtime_error if it cannot be
  /// written; what half-written line that leaves is dropped on resuming.
  void append(const nlohmann::ordered_json& entry);

 private:
  std::string path_;
};

}  // namespace pleat
