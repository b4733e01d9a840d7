// Batch normalisation over N, H and W, for each channel. The same pass over memory can also do what follows: add a
// residual and apply an alpha-activation.
//   z = gamma * (x - mean) * rstd + beta + residual        rstd = 1 / sqrt(var + eps)
//   y = s_a(z) = s(z) + a * (z - s(z))                     (AlphaAct in core/graph.hpp)
// Shapes  x,y,residual and their gradients [N,H,W,C]; gamma,beta,mean,rstd,running_* [C].
// Types   Pixels are of type T (double, float, Bf16). What has one value for each channel, and all arithmetic, is of
//         type compute_t<T>.
// Threads Functions that take pixels work on the calling thread alone, on the pixels they are given. The pixels of a
//         batch may come in pieces and from several threads; each thread has its own sums, which are joined once for
//         the whole batch.
// Train   y is normalised by the biased variance of the batch; running_var keeps the unbiased one.
// Saved   mean, rstd, and the factors of dx that follow from the joined sums. z is computed again rather than stored.
// Grads   dx and dz are overwritten; those of parameters are added to dgamma, dbeta and dalpha.
// Alias   dz may be dy; dx may be dz.
// Sums    are in compute_t<T> for up to 64 pixels and in double beyond. Each thread has a part, and parts are added in
//         the order of threads, so that the same number of threads gives the same bits.
// Source  Ioffe & Szegedy 2015, arXiv:1502.03167, Alg. 1; Layer Folding, arXiv:2106.09309, section 3.
#pragma once

#include <span>
#include <vector>

#include "core/graph.hpp"
#include "core/process_group.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// What one batch norm keeps from pass to pass, and the sums that each thread adds up piece by piece.
template <class T>
struct BatchNormSaved {
  explicit BatchNormSaved(int64_t channels);
  AlignedVector<compute_t<T>> mean, rstd;
  AlignedVector<compute_t<T>> dx_factors;  ///< [3][C]: dx = f0 * dz + f1 * (x - mean) + f2.
  std::vector<int64_t> pixels;             ///< [threads]: how many are in the statistics; 0 between batches.
  AlignedVector<compute_t<T>> shift;       ///< [threads][C]: the first pixel of the batch that the thread added.
  AlignedVector<double> sums;              ///< [threads][3][C]; 0 between batches.
  AlignedVector<double> of_ranks;          ///< What the ranks tell each other.
};

/// What follows the normalisation. Without a residual the span is empty; without an activation `act` is nullptr.
template <class T>
struct BatchNormTail {
  std::span<const T> residual;
  const AlphaAct* act = nullptr;
  compute_t<T> alpha = 0;
};

template <class T>
struct BatchNormParams {
  std::span<const compute_t<T>> gamma, beta;
};

/// Adds some pixels of a batch to the calling thread's sums, which are of x minus the first pixel that the thread adds:
/// so they stay accurate where the mean is much larger than the deviation.
template <class T>
void batch_norm_add_statistics(BatchNormSaved<T>& saved, std::span<const T> x, int thread);

/// Once all pixels of a batch were added: computes the statistics of the batch into `saved`, and moves the running ones
/// towards them by op.momentum. With `ranks` they are those of all ranks' pixels. Throws std::invalid_argument if the
/// batch had fewer than two pixels.
template <class T>
void batch_norm_finish_statistics(BatchNormSaved<T>& saved, std::span<compute_t<T>> running_mean,
                                  std::span<compute_t<T>> running_var, const BatchNorm& op,
                                  ProcessGroup* ranks = nullptr);

/// For evaluation: takes mean and rstd from the running statistics.
template <class T>
void batch_norm_running(BatchNormSaved<T>& saved, std::span<const compute_t<T>> running_mean,
                        std::span<const compute_t<T>> running_var, const BatchNorm& op);

template <class T>
void batch_norm_forward(std::span<T> y, std::span<const T> x, const BatchNormTail<T>& tail,
                        const BatchNormSaved<T>& saved, const BatchNormParams<T>& params);

// The gradients in training, where the statistics depend on the batch: first sums over the batch, then dx.

/// Adds some pixels to the calling thread's sums. With a residual this writes its gradient dz, the one before the
/// activation; without, `dz` is empty.
template <class T>
void batch_norm_backward_sums(BatchNormSaved<T>& saved, std::span<T> dz, std::span<const T> dy, std::span<const T> x,
                              const BatchNormTail<T>& tail, const BatchNormParams<T>& params, int thread);

/// Once all pixels of a batch of `shape` were added: computes the gradients of the parameters, which are those of this
/// rank's pixels, and the factors of dx, which depend on all ranks' pixels where the statistics did. `dalpha` may be
/// nullptr.
template <class T>
void batch_norm_backward_finish(BatchNormSaved<T>& saved, compute_t<T>* dalpha, std::span<compute_t<T>> dgamma,
                                std::span<compute_t<T>> dbeta, const BatchNormParams<T>& params, const Nhwc& shape,
                                ProcessGroup* ranks = nullptr);

/// Computes dx. If `tail` has an activation, `dy` is the gradient behind it, and there must be no residual; else `dy`
/// is the gradient before it, dz.
template <class T>
void batch_norm_backward_dx(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const BatchNormTail<T>& tail,
                            const BatchNormSaved<T>& saved, const BatchNormParams<T>& params);

}  // namespace pleat
