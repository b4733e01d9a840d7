// Estimates the statistics of batch norms anew, from pictures without labels: for a network whose weights have changed
// since they were taken, or whose pictures are others now.
// Source: "precise batch norm", Wu & Johnson 2021, arXiv:2105.07576, section 3.
#pragma once

#include <cstdint>

#include "core/model.hpp"
#include "data/dataset.hpp"

namespace pleat {

struct CalibrateOptions {
  int64_t pictures = 1000;  ///< At most; whole batches are taken.
  int64_t batch = 50;
  uint64_t seed = 1;         ///< Of the order in which the pictures come.
  bool skip_broken = false;  ///< Pass over files that cannot be read.
  bool quiet = false;
};

/// Replaces the running means and variances of `model`'s batch norms by the means, over batches, of those that each
/// norm has in training, where it normalises by its own batch and so do the norms before it. The pictures are not
/// augmented. Returns the number of pictures. Throws std::invalid_argument if the model has no batch norm or there is
/// less than one batch, std::runtime_error for a file that cannot be read.
int64_t calibrate(Model& model, const Dataset& data, const CalibrateOptions& options);

}  // namespace pleat
