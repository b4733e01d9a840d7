// Muon: SGD with momentum, but for a matrix of weights, from which it subtracts the orthogonal matrix that is nearest
// to what SGD would subtract. So no direction is learned at the expense of the others, and a step does as much as
// several of SGD's. Parameters of batch norms, biases and classifiers are left to SGD (tools/train/sgd.hpp).
//   velocity = momentum * velocity + grad
//   d = nesterov ? grad + momentum * velocity : velocity
//   param = (1 - decay) * param - lr * sqrt(max(1, rows / columns)) * orthogonal(d)
// Velocities start at 0. The result does not depend on the number of threads.
// Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
// kellerjordan.github.io/posts/muon; the factors are those of torch.optim.Muon with adjust_lr_fn="original".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.hpp"
#include "tools/train/sgd.hpp"

namespace pleat {

/// A weight that Muon trains. It counts as a matrix with a row for each index of its first dimension: that of a
/// convolution is [out, in * kh * kw].
struct MuonWeight {
  Tensor* param;
  const Tensor* grad;
  Tensor* velocity;
};

class Muon {
 public:
  /// Throws std::invalid_argument if the three of a weight differ in shape or have less than two dimensions.
  explicit Muon(std::vector<MuonWeight> weights);

  /// One step of all weights; allocates nothing.
  void step(double lr, double decay, const SgdOptions& options);

 private:
  void step(const MuonWeight& w, std::span<float> scratch, double lr, double decay, const SgdOptions& options) const;

  std::vector<MuonWeight> weights_;  // from the largest to the smallest
  int64_t scratch_size_ = 0;         // floats for each thread
  AlignedVector<float> scratch_;
};

/// Floats of scratch memory that orthogonalise needs for a matrix of so many rows and columns.
int64_t orthogonalise_scratch(int64_t rows, int64_t columns);

/// Replaces x [rows, columns], with its singular value decomposition U S V^T, roughly by U V^T: its singular values end
/// between 0.7 and 1.2, except those below 0.01 of x's norm, which end lower. Five iterations of the Newton-Schulz
/// kind, X <- a X + (b A + c A^2) X with A = X X^T and Jordan's coefficients. Runs on the calling thread alone.
void orthogonalise(std::span<float> x, int64_t rows, std::span<float> scratch);

}  // namespace pleat
