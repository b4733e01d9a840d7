// The log of a training run: one line of JSON for each epoch, with its number, counted from 1, under "epoch".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pleat {

/// A line is on disk when `append` returns. Not for use by several threads or processes at once.
class RunLog {
 public:
  /// With keep_epochs = 0 a new log replaces any old one. Otherwise the lines of the first keep_epochs epochs are kept;
  /// later ones are dropped, and so is a last line that a crash cut short. A missing file counts as empty. Throws
  /// std::runtime_error `path: reason` if the file cannot be written or another of its lines is not an epoch's.
  explicit RunLog(std::string path, int64_t keep_epochs = 0);

  /// Adds one line. Throws std::invalid_argument if the entry has no "epoch" number, std::runtime_error if it cannot be
  /// written. Resuming drops the half-written line that such a failure may leave.
  void append(const nlohmann::ordered_json& entry);

 private:
  std::string path_;
};

}  // namespace pleat
