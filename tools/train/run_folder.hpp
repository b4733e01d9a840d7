// The folder that a training run writes, which is one run's alone.
#pragma once

#include <string>

#include "core/file_lock.hpp"

namespace pleat {

/// Whether the folder holds a state from which a run can go on.
bool has_state(const std::string& folder);

/// What a run may do with the folder that it is given.
struct RunFolderOptions {
  bool resume = false;     ///< Go on with the run there.
  bool overwrite = false;  ///< Begin anew in place of the run there, finished or not (clear()).
};

/// Makes the folder if it is absent and keeps other runs out of it (by its file `lock`) while this object lives.
class RunFolder {
 public:
  /// Throws std::runtime_error that begins with the folder's name if another run is at work there, or if it holds a run
  /// that would be lost: with neither option any, with `resume` one that has no state to go on from.
  RunFolder(const std::string& path, const RunFolderOptions& options);

  /// Removes the files of the run there.
  void clear() const;

 private:
  const std::string path_;
  const FileLock lock_;
};

}  // namespace pleat
