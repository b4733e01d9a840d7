// What dropping each run of neighbouring activations would cost and gain when a fitted convolution takes its place, and
// which runs to drop together.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/fit_groups.hpp"
#include "fold/merge_candidates.hpp"

namespace pleat {

/// Neighbouring foldable activations that can be dropped without others.
struct FittedDrop {
  int first = 0, last = 0;   ///< Their places in the mask.
  double feature_error = 0;  ///< Of the network then, against the features before, as ops/loss/feature_error.hpp.
  double seconds = 0;        ///< Latency of the network then.
};

struct FittedDrops {
  double seconds = 0;  ///< Latency of the network as it is.
  std::vector<FittedDrop>
      drops;  ///< In network order, short ones first. Where no convolution can be fitted there is none.
};

/// Fits convolutions of at most `kernel` in the place of each run of 1 to `longest` foldable activations, on the
/// pictures that `run` runs, and measures both. Neighbours may become one convolution, which then saves more than each
/// of them. The feature error after the closed form is how much is left for training to recover. Throws
/// std::invalid_argument if no activation can be fitted, and like `run`.
FittedDrops measure_fitted_drops(const Model& model, int longest, int kernel, const RunNetworks& run,
                                 const Stopwatch& stopwatch);

/// The mask that drops, in the order of the least feature error for each second saved, runs that do not touch, until
/// the network would be at least `speedup` times as fast as it is if seconds added up; what is slower when dropped is
/// kept. Throws std::runtime_error, naming the speed-up that there is, if all of them do not suffice.
std::string choose_fitted_drops(const FittedDrops& measured, std::size_t cells, double speedup);

}  // namespace pleat
