// What dropping each foldable activation alone would cost and gain when a fitted convolution takes its place, and which
// to drop together.
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/fit_groups.hpp"
#include "fold/merge_candidates.hpp"

namespace pleat {

/// A foldable activation that can be dropped alone.
struct FittedDrop {
  int cell = 0;              ///< Its place in the mask.
  std::string alpha;         ///< Its name.
  double feature_error = 0;  ///< Of the network then, against the features before, as ops/loss/feature_error.hpp.
  double seconds = 0;        ///< Latency of the network then.
};

struct FittedDrops {
  double seconds = 0;             ///< Latency of the network as it is.
  std::vector<FittedDrop> drops;  ///< In network order. Where no convolution can be fitted there is none.
};

/// Fits a convolution of at most `kernel` in the place of each foldable activation alone, on the pictures that `run`
/// runs, and measures both. The feature error after the closed form is how much is left for training to recover. Throws
/// std::invalid_argument if no activation can be fitted, and like `run`.
FittedDrops measure_fitted_drops(const Model& model, int kernel, const RunNetworks& run, const Stopwatch& stopwatch);

/// The mask that drops, in the order of the least feature error for each second saved, until the network would be at
/// least `speedup` times as fast as it is if seconds added up; what is slower when dropped is kept. Throws
/// std::runtime_error, naming the speed-up that there is, if all of them do not suffice.
std::string choose_fitted_drops(const FittedDrops& measured, std::size_t cells, double speedup);

}  // namespace pleat
