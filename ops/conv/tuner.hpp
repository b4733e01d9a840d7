// Chooses among several ways to compute the same by timing them: the one harness of training
// (ops/conv/tune_training.hpp) and of the engine (fold/engine/choose_engine_kernel.hpp). What it finds is remembered
// (ops/conv/tune_cache.hpp).
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ops/conv/tune_cache.hpp"

namespace pleat {

/// Runs a candidate once and returns the seconds that count.
using TimedRun = std::function<double()>;

/// One way to do a task.
struct TuneCandidate {
  std::string name;                   ///< In the cache; different for all candidates of a task.
  std::function<TimedRun()> prepare;  ///< Makes it ready to be timed. The memory it needs lives as long as the result.
};

struct TuneProtocol {
  /// Called before each run, to bring the caches into the state that the run will find them in. Empty: they are warm
  /// from the run before.
  std::function<void()> before_run = {};
  /// A candidate replaces one before it in the list if it takes at most this share of its time: smaller differences are
  /// noise, which would be remembered.
  double worth_it = 0.97;
};

/// The index of the fastest candidate. Each is timed by the fastest of several runs, which an interruption seldom hits.
/// Those that come near the best are the finalists: they are timed again for several rounds, in turn, because a
/// machine's speed changes meanwhile, and the median of a finalist's rounds counts.
std::size_t find_fastest(const std::vector<TuneCandidate>& candidates, const TuneProtocol& protocol);

class Tuner {
 public:
  /// The index of the candidate that is remembered for `task`, or else of the fastest, which is then remembered.
  std::size_t choose(const std::string& task, const std::vector<TuneCandidate>& candidates,
                     const TuneProtocol& protocol);
  /// Writes what was found since the last time to the file; the destructor does so too.
  void save() { cache_.save(); }

 private:
  TuneCache cache_;
};

/// Reads `memory` by all threads, so that the caches hold it, or as much of it as fits.
void bring_to_caches(std::span<const std::byte> memory);

}  // namespace pleat
