// What batch normalisation does with the pixels of a batch, on the calling thread, with registers of each instruction
// set (private to ops/batch_norm.cpp).
#pragma once

#include <cstdint>

#include "core/simd/bf16.hpp"
#include "ops/nonlinearity.hpp"

namespace pleat {

/// Everything that one pass needs, for the pixels [begin, end). Pointers that a pass does not use may be nullptr.
template <class T>
struct BatchNormRows {
  using C = compute_t<T>;
  T *y = nullptr, *dx = nullptr;
  T* dz = nullptr;  ///< The gradient before the activation, which is written where a residual needs it.
  const T *x = nullptr, *residual = nullptr, *dy = nullptr;
  const C *shift = nullptr, *mean = nullptr, *rstd = nullptr, *gamma = nullptr, *beta = nullptr, *dx_factors = nullptr;
  bool act = false;  ///< Whether there is an activation:
  Nonlinearity s = Nonlinearity::relu;
  AlphaParams<C> params = {};
  double* sums = nullptr;
  bool near = false;  ///< The pixels are in the caches near the cores.
  int64_t begin = 0, end = 0, channels = 0;
};

/// y of ops/batch_norm.hpp, with residual and activation if there are any.
template <class T>
void batch_norm_forward_rows(const BatchNormRows<T>& rows);

/// Adds to sums, [3][channels]: of dz, of dz * (x - mean), and of dy times the derivative of y by a.
template <class T>
void batch_norm_backward_sums_rows(const BatchNormRows<T>& rows);

/// dx from dy, or from dz if there is no activation.
template <class T>
void batch_norm_backward_dx_rows(const BatchNormRows<T>& rows);

/// Adds to sums, [2][channels]: of x - shift and of its square.
template <class T>
void batch_norm_statistics_rows(const BatchNormRows<T>& rows);

}  // namespace pleat
