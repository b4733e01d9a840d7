// Batch normalisation over N,H,W, per channel, with what follows it in the same pass over memory: a residual add and an
// alpha-activation, both optional.
//   z = gamma * (x - mean) * rstd + beta + residual        rstd = 1 / sqrt(var + eps)
//   y = s_a(z) = s(z) + a * (z - s(z))                     (core/graph.hpp, AlphaAct)
// Shapes  x,y,residual and their gradients [N,H,W,C]; gamma,beta,mean,rstd,running_* [C].
// Train   biased batch variance for y; running_var keeps the unbiased one.
// Saved   mean, rstd (batch_norm_statistics writes, the others read); z is computed again rather than stored.
// Grads   dx and dresidual are overwritten; dgamma, dbeta, dalpha are accumulated.
// Alias   dresidual may be dy; without a residual dx may be dy.
// Sums    in double, one part a thread, added in thread order: the same threads give the same bits.
// Source  Ioffe & Szegedy 2015, arXiv:1502.03167, Alg. 1; Layer Folding, arXiv:2106.09309, section 3.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// What follows the normalisation. No residual: an empty span. No activation: `act` is null.
template <class T>
struct BatchNormTail {
  std::span<const T> residual;
  const AlphaAct* act = nullptr;
  T alpha = 0;
};

/// Doubles that the statistics and the backward pass need to work in.
int64_t batch_norm_workspace(int64_t channels);

/// Batch statistics, and the running ones moved towards them by op.momentum. Throws std::invalid_argument if N*H*W < 2.
template <class T>
void batch_norm_statistics(std::span<T> mean, std::span<T> rstd, std::span<T> running_mean, std::span<T> running_var,
                           std::span<const T> x, const Nhwc& shape, const BatchNorm& op, std::span<double> workspace);

/// mean and rstd for evaluation, from the running statistics.
template <class T>
void batch_norm_running(std::span<T> mean, std::span<T> rstd, std::span<const T> running_mean,
                        std::span<const T> running_var, const BatchNorm& op);

template <class T>
void batch_norm_forward(std::span<T> y, std::span<const T> x, const BatchNormTail<T>& tail, std::span<const T> mean,
                        std::span<const T> rstd, std::span<const T> gamma, std::span<const T> beta, const Nhwc& shape);

/// Gradients in training, through the batch statistics. `dalpha` may be null, `dresidual` empty where there is none.
template <class T>
void batch_norm_backward(std::span<T> dx, std::span<T> dresidual, T* dalpha, std::span<T> dgamma, std::span<T> dbeta,
                         std::span<const T> dy, std::span<const T> x, const BatchNormTail<T>& tail,
                         std::span<const T> mean, std::span<const T> rstd, std::span<const T> gamma,
                         std::span<const T> beta, const Nhwc& shape, std::span<double> workspace);

}  // namespace pleat
