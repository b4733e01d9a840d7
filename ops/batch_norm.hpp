// Batch normalisation over N,H,W, per channel, with what follows it in the same pass over memory: a residual add and an
// alpha-activation, both optional.
//   z = gamma * (x - mean) * rstd + beta + residual        rstd = 1 / sqrt(var + eps)
//   y = s_a(z) = s(z) + a * (z - s(z))                     (core/graph.hpp, AlphaAct)
// Shapes  x,y,residual and their gradients [N,H,W,C]; gamma,beta,mean,rstd,running_* [C].
// Types   activations T (double, float, Bf16); everything a channel has one of, and all arithmetic, compute_t<T>.
// Threads what takes activations works on the calling thread alone, on whatever pixels it is given: those of a batch
// may
//         come in pieces and from several threads, each with sums of its own, which are finished once for the batch.
// Train   biased batch variance for y; running_var keeps the unbiased one.
// Saved   mean, rstd and what the finished sums mean for dx; z is computed again rather than stored.
// Grads   dx and dz are overwritten; dgamma, dbeta, dalpha are accumulated.
// Alias   dz may be dy; dx may be dz.
// Sums    over 64 pixels in compute_t<T>, beyond in double; one part a thread, added in thread order: the same threads
//         give the same bits.
// Source  Ioffe & Szegedy 2015, arXiv:1502.03167, Alg. 1; Layer Folding, arXiv:2106.09309, section 3.
#pragma once

#include <span>
#include <vector>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// What one batch norm keeps from pass to pass, and the sums it adds up piece by piece, each thread its own.
template <class T>
struct BatchNormSaved {
  explicit BatchNormSaved(int64_t channels);
  AlignedVector<compute_t<T>> mean, rstd;
  AlignedVector<compute_t<T>> dx_factors;  ///< [3][C]: dx = f0 * dz + f1 * (x - mean) + f2.
  std::vector<int64_t> pixels;             ///< [threads], added to the statistics; zero between batches.
  AlignedVector<compute_t<T>> shift;       ///< [threads][C]: a batch's first pixel that the thread added.
  AlignedVector<double> sums;              ///< [threads][3][C]; zero between batches.
};

/// What follows the normalisation. No residual: an empty span. No activation: `act` is null.
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

/// Adds some pixels of a batch to the calling thread's sums: of x less the first pixel that the thread adds, which stay
/// exact where the mean is large against the deviation.
template <class T>
void batch_norm_add_statistics(BatchNormSaved<T>& saved, std::span<const T> x, int thread);

/// Batch statistics into `saved`, once all pixels of a batch were added, and the running ones moved towards them by
/// op.momentum. Throws std::invalid_argument if N*H*W < 2.
template <class T>
void batch_norm_finish_statistics(BatchNormSaved<T>& saved, std::span<compute_t<T>> running_mean,
                                  std::span<compute_t<T>> running_var, const BatchNorm& op);

/// mean and rstd for evaluation, from the running statistics.
template <class T>
void batch_norm_running(BatchNormSaved<T>& saved, std::span<const compute_t<T>> running_mean,
                        std::span<const compute_t<T>> running_var, const BatchNorm& op);

template <class T>
void batch_norm_forward(std::span<T> y, std::span<const T> x, const BatchNormTail<T>& tail,
                        const BatchNormSaved<T>& saved, const BatchNormParams<T>& params);

// Gradients in training, through the batch statistics: sums over the batch first, then dx.

/// Adds some pixels to the calling thread's sums. With a residual, its gradient dz (before the activation) is written;
/// else `dz` is empty.
template <class T>
void batch_norm_backward_sums(BatchNormSaved<T>& saved, std::span<T> dz, std::span<const T> dy, std::span<const T> x,
                              const BatchNormTail<T>& tail, const BatchNormParams<T>& params, int thread);

/// Parameter gradients, and the factors of dx, once all pixels of a batch of `shape` were added. `dalpha` may be null.
template <class T>
void batch_norm_backward_finish(BatchNormSaved<T>& saved, compute_t<T>* dalpha, std::span<compute_t<T>> dgamma,
                                std::span<compute_t<T>> dbeta, const BatchNormParams<T>& params, const Nhwc& shape);

/// dx from dz; or from dy, with the `tail` between the two, which must then have no residual.
template <class T>
void batch_norm_backward_dx(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const BatchNormTail<T>& tail,
                            const BatchNormSaved<T>& saved, const BatchNormParams<T>& params);

}  // namespace pleat
