// Choices that were made by timing, remembered in a small file so that they are timed once on a machine:
// $XDG_CACHE_HOME/pleat/tune.json, or ~/.cache/pleat/tune.json. One table for each processor, thread count and library;
// in it a text for each shape. A file that cannot be read, or a home that cannot be written, costs the time to choose
// again, never a run.
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

  /// What was chosen for `shape`; empty if nothing was.
  std::string find(const std::string& shape) const;
  void remember(const std::string& shape, const std::string& choice);

  /// Adds what is new to the file, which others may have changed meanwhile.
  void save();

 private:
  std::string path_, key_;
  std::map<std::string, std::string> known_, added_;
};

}  // namespace pleat
