// The choices that were made by timing, remembered in one file for training and the engine, so that each is timed once
// on a machine: $XDG_CACHE_HOME/pleat/tune.json, or ~/.cache/pleat/tune.json. The file has one table for each
// combination of processor, thread count, oneDNN version and version of Pleat's kernels; a table has the chosen
// candidate's name for each task.
//
// The version of the kernels is a hash over their sources, which the Makefile writes into a generated header. When a
// kernel changes, what was timed before belongs to another table, and is timed again.
//
// Threads and processes may save at the same time. A lock file beside the table file makes them do so in turn; each
// reads the file again before it adds its own choices, and replaces it by a rename. So no choice is lost, and nobody
// reads half a file.
//
// Damage costs the damaged lines alone (TableReader in the .cpp). A file that cannot be read, or a home that cannot be
// written, costs the time to choose again, never a run. The file may be deleted at any time.
#pragma once

#include <map>
#include <string>

namespace pleat {

class TuneCache {
 public:
  /// Reads this machine's table, for num_threads() threads.
  TuneCache();
  /// As save(), if there is something new. Does not throw.
  ~TuneCache();
  TuneCache(const TuneCache&) = delete;
  TuneCache& operator=(const TuneCache&) = delete;

  /// The name of what was chosen for `task`; empty if nothing was.
  std::string find(const std::string& task) const;
  void remember(const std::string& task, const std::string& choice);

  /// Adds what is new to the file. Does not throw: where that fails, the choices are timed again another time.
  void save();

 private:
  std::string path_, key_;
  std::map<std::string, std::string> known_, added_;
};

}  // namespace pleat
