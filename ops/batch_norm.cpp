#include "ops/batch_norm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.hpp"
#include "core/parallel.hpp"

namespace pleat {
namespace {

// Rows are walked in tiles of pixels, and a tile in blocks of channels, so that a block's accumulators stay in
// registers and a tile read twice is still in the first-level cache.
constexpr int64_t kTile = 64;
constexpr int64_t kLanes = 16;

// Everything one pass needs, for the pixels [begin, end).
template <class T>
struct Rows {
  T *y = nullptr, *dx = nullptr;
  T* dz = nullptr;  // the gradient before the activation, written where a residual needs it
  const T *x = nullptr, *residual = nullptr, *dy = nullptr;
  const T *mean = nullptr, *rstd = nullptr, *gamma = nullptr, *beta = nullptr;
  T alpha = 0, cap = 0;  // s(z) = min(max(z, 0), cap)
  int64_t begin = 0, end = 0, channels = 0;
};

template <class T>
T cap_of(const AlphaAct* act) {
  return act && act->s == Nonlinearity::relu6 ? T{6} : std::numeric_limits<T>::infinity();
}

// Per-channel factors of one block, copied so that stores to memory cannot touch them.
template <class T>
struct Factors {
  T mean[kLanes] = {}, scale[kLanes] = {}, beta[kLanes] = {};
  Factors(const Rows<T>& r, int64_t c0, int64_t lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      mean[lane] = r.mean[c0 + lane];
      scale[lane] = r.rstd[c0 + lane] * r.gamma[c0 + lane];
      beta[lane] = r.beta[c0 + lane];
    }
  }
  [[gnu::always_inline]] T z(T x, int64_t lane) const { return (x - mean[lane]) * scale[lane] + beta[lane]; }
};

// Calls body(first pixel, last pixel, first channel, channels) for every block of the rows; `channels` is the constant
// kLanes in all but the last, so that the compiler unrolls it. Inner loops are marked ivdep: buffers that are the same
// are read and written at the same index only.
template <class T, class Body>
[[gnu::always_inline]] inline void for_blocks(const Rows<T>& r, const Body& body) {
  for (int64_t tile = r.begin; tile < r.end; tile += kTile) {
    const int64_t tile_end = tile + kTile < r.end ? tile + kTile : r.end;
    int64_t c = 0;
    for (; c + kLanes <= r.channels; c += kLanes) body(tile, tile_end, c, kLanes);
    if (c < r.channels) body(tile, tile_end, c, r.channels - c);
  }
}

template <class T>
[[gnu::always_inline]] inline T clamp(T z, T cap) {
  const T positive = z > 0 ? z : T{0};
  return positive < cap ? positive : cap;
}

template <class T, bool kResidual, bool kAct>
[[gnu::always_inline]] inline void forward_body(const Rows<T>& r) {
  const T alpha = r.alpha, cap = r.cap;
  for_blocks(
      r, [&](int64_t begin, int64_t end, int64_t c0, int64_t lanes) __attribute__((always_inline)) {
        const Factors<T> f(r, c0, lanes);
        for (int64_t p = begin; p < end; ++p) {
          const int64_t i = p * r.channels + c0;
          T* y = r.y + i;
          const T *x = r.x + i, *residual = r.residual + (kResidual ? i : 0);
#pragma GCC ivdep
          for (int64_t lane = 0; lane < lanes; ++lane) {
            const T z = f.z(x[lane], lane) + (kResidual ? residual[lane] : T{0});
            const T s = clamp(z, cap);
            y[lane] = kAct ? s + alpha * (z - s) : z;
          }
        }
      });
}

// sums: [3][channels], of dz, of dz * (x - mean), and of dy * (z - s(z)).
template <class T, bool kResidual, bool kAct>
[[gnu::always_inline]] inline void backward_sums_body(const Rows<T>& r, double* sums) {
  const T alpha = r.alpha, cap = r.cap;
  for_blocks(
      r, [&](int64_t begin, int64_t end, int64_t c0, int64_t lanes) __attribute__((always_inline)) {
        const Factors<T> f(r, c0, lanes);
        double dz_sum[kLanes] = {}, product[kLanes] = {}, dalpha[kLanes] = {};
        for (int64_t p = begin; p < end; ++p) {
          const int64_t i = p * r.channels + c0;
          const T *x = r.x + i, *dy = r.dy + i, *residual = r.residual + (kResidual ? i : 0);
          T* dz_out = r.dz + (kResidual ? i : 0);
#pragma GCC ivdep
          for (int64_t lane = 0; lane < lanes; ++lane) {
            const T z = f.z(x[lane], lane) + (kResidual ? residual[lane] : T{0});
            const T dz = dy[lane] * (!kAct || (z > 0 && z < cap) ? T{1} : alpha);
            dz_sum[lane] += dz;
            product[lane] += double{dz} * double{x[lane] - f.mean[lane]};
            if (kAct) dalpha[lane] += double{dy[lane]} * double{z - clamp(z, cap)};
            if (kResidual) dz_out[lane] = dz;
          }
        }
        for (int64_t lane = 0; lane < lanes; ++lane) {
          sums[c0 + lane] += dz_sum[lane];
          sums[r.channels + c0 + lane] += product[lane];
          sums[2 * r.channels + c0 + lane] += dalpha[lane];
        }
      });
}

// dx = a*dz + b*(x - mean) + c, with per-channel a, b, c in `abc` [3][channels]. With a residual dz was stored.
template <class T, bool kResidual, bool kAct>
[[gnu::always_inline]] inline void backward_dx_body(const Rows<T>& r, const T* abc) {
  const T alpha = r.alpha, cap = r.cap;
  for_blocks(
      r, [&](int64_t begin, int64_t end, int64_t c0, int64_t lanes) __attribute__((always_inline)) {
        const Factors<T> f(r, c0, lanes);
        T a[kLanes] = {}, b[kLanes] = {}, c[kLanes] = {};
        for (int64_t lane = 0; lane < lanes; ++lane) {
          a[lane] = abc[c0 + lane];
          b[lane] = abc[r.channels + c0 + lane];
          c[lane] = abc[2 * r.channels + c0 + lane];
        }
        for (int64_t p = begin; p < end; ++p) {
          const int64_t i = p * r.channels + c0;
          T* dx = r.dx + i;
          const T *x = r.x + i, *dy = (kResidual ? r.dz : r.dy) + i;
#pragma GCC ivdep
          for (int64_t lane = 0; lane < lanes; ++lane) {
            const T z = f.z(x[lane], lane);
            const T dz = dy[lane] * (kResidual || !kAct || (z > 0 && z < cap) ? T{1} : alpha);
            dx[lane] = a[lane] * dz + b[lane] * (x[lane] - f.mean[lane]) + c[lane];
          }
        }
      });
}

// sums: [2][channels], of x - shift and its square; the shift (the first pixel) keeps the difference of squares exact
// where the mean is large against the deviation.
template <class T>
[[gnu::always_inline]] inline void statistics_body(const Rows<T>& r, double* sums) {
  for_blocks(
      r, [&](int64_t begin, int64_t end, int64_t c0, int64_t lanes) __attribute__((always_inline)) {
        double sum[kLanes] = {}, square[kLanes] = {};
        T shift[kLanes] = {};
        for (int64_t lane = 0; lane < lanes; ++lane) shift[lane] = r.x[c0 + lane];
        for (int64_t p = begin; p < end; ++p) {
          const T* x = r.x + p * r.channels + c0;
          for (int64_t lane = 0; lane < lanes; ++lane) {
            const double d = x[lane] - shift[lane];
            sum[lane] += d;
            square[lane] += d * d;
          }
        }
        for (int64_t lane = 0; lane < lanes; ++lane) {
          sums[c0 + lane] += sum[lane];
          sums[r.channels + c0 + lane] += square[lane];
        }
      });
}

// The bodies as functions for each instruction set; the two flags become four straight loops.
#define PLEAT_ROWS(T)                                                                             \
  PLEAT_SIMD void forward_rows(const Rows<T>& r, bool act) {                                      \
    if (r.residual)                                                                               \
      act ? forward_body<T, true, true>(r) : forward_body<T, true, false>(r);                     \
    else                                                                                          \
      act ? forward_body<T, false, true>(r) : forward_body<T, false, false>(r);                   \
  }                                                                                               \
  PLEAT_SIMD void backward_sums_rows(const Rows<T>& r, bool act, double* s) {                     \
    if (r.residual)                                                                               \
      act ? backward_sums_body<T, true, true>(r, s) : backward_sums_body<T, true, false>(r, s);   \
    else                                                                                          \
      act ? backward_sums_body<T, false, true>(r, s) : backward_sums_body<T, false, false>(r, s); \
  }                                                                                               \
  PLEAT_SIMD void backward_dx_rows(const Rows<T>& r, bool act, const T* abc) {                    \
    if (r.residual)                                                                               \
      backward_dx_body<T, true, false>(r, abc);                                                   \
    else                                                                                          \
      act ? backward_dx_body<T, false, true>(r, abc) : backward_dx_body<T, false, false>(r, abc); \
  }                                                                                               \
  PLEAT_SIMD void statistics_rows(const Rows<T>& r, double* sums) {                               \
    statistics_body<T>(r, sums);                                                                  \
  }
PLEAT_ROWS(float)
PLEAT_ROWS(double)
#undef PLEAT_ROWS

// Adds up every thread's part of `count` sums, in thread order, into the first part.
void join_parts(std::span<double> parts, int64_t count) {
  for (int thread = 1; thread < num_threads(); ++thread)
    for (int64_t i = 0; i < count; ++i) parts[i] += parts[thread * count + i];
}

}  // namespace

int64_t batch_norm_workspace(int64_t channels) {
  return (num_threads() * 3 + 3) * channels;
}

template <class T>
void batch_norm_statistics(std::span<T> mean, std::span<T> rstd, std::span<T> running_mean, std::span<T> running_var,
                           std::span<const T> x, const Nhwc& shape, const BatchNorm& op, std::span<double> workspace) {
  PLEAT_CHECK(shape.pixels() >= 2, "batch_norm: training needs two values a channel, got input ", to_string(shape));
  const int64_t channels = shape.c, count = 2 * channels;
  std::fill_n(workspace.begin(), num_threads() * count, 0.0);
  parallel_for(shape.pixels(), [&](int64_t begin, int64_t end, int thread) {
    Rows<T> rows{.x = x.data(), .begin = begin, .end = end, .channels = channels};
    statistics_rows(rows, workspace.data() + thread * count);
  });
  join_parts(workspace, count);
  const double n = static_cast<double>(shape.pixels());
  for (int64_t c = 0; c < channels; ++c) {
    const double shifted = workspace[c] / n, batch_mean = double{x[c]} + shifted;
    const double variance = std::max(0.0, workspace[channels + c] / n - shifted * shifted);
    mean[c] = static_cast<T>(batch_mean);
    rstd[c] = static_cast<T>(1 / std::sqrt(variance + op.eps));
    running_mean[c] = static_cast<T>((1 - op.momentum) * running_mean[c] + op.momentum * batch_mean);
    running_var[c] = static_cast<T>((1 - op.momentum) * running_var[c] + op.momentum * variance * n / (n - 1));
  }
}

template <class T>
void batch_norm_running(std::span<T> mean, std::span<T> rstd, std::span<const T> running_mean,
                        std::span<const T> running_var, const BatchNorm& op) {
  for (std::size_t c = 0; c < mean.size(); ++c) {
    mean[c] = running_mean[c];
    rstd[c] = static_cast<T>(1 / std::sqrt(double{running_var[c]} + op.eps));
  }
}

template <class T>
void batch_norm_forward(std::span<T> y, std::span<const T> x, const BatchNormTail<T>& tail, std::span<const T> mean,
                        std::span<const T> rstd, std::span<const T> gamma, std::span<const T> beta, const Nhwc& shape) {
  parallel_for(shape.pixels(), [&](int64_t begin, int64_t end, int) {
    const Rows<T> rows{.y = y.data(),
                       .x = x.data(),
                       .residual = tail.residual.data(),
                       .mean = mean.data(),
                       .rstd = rstd.data(),
                       .gamma = gamma.data(),
                       .beta = beta.data(),
                       .alpha = tail.alpha,
                       .cap = cap_of<T>(tail.act),
                       .begin = begin,
                       .end = end,
                       .channels = shape.c};
    forward_rows(rows, tail.act != nullptr);
  });
}

template <class T>
void batch_norm_backward(std::span<T> dx, std::span<T> dresidual, T* dalpha, std::span<T> dgamma, std::span<T> dbeta,
                         std::span<const T> dy, std::span<const T> x, const BatchNormTail<T>& tail,
                         std::span<const T> mean, std::span<const T> rstd, std::span<const T> gamma,
                         std::span<const T> beta, const Nhwc& shape, std::span<double> workspace) {
  const int64_t channels = shape.c, count = 3 * channels;
  const auto rows = [&](int64_t begin, int64_t end) {
    return Rows<T>{.dx = dx.data(),
                   .dz = dresidual.data(),
                   .x = x.data(),
                   .residual = tail.residual.data(),
                   .dy = dy.data(),
                   .mean = mean.data(),
                   .rstd = rstd.data(),
                   .gamma = gamma.data(),
                   .beta = beta.data(),
                   .alpha = tail.alpha,
                   .cap = cap_of<T>(tail.act),
                   .begin = begin,
                   .end = end,
                   .channels = channels};
  };
  std::fill_n(workspace.begin(), num_threads() * count, 0.0);
  parallel_for(shape.pixels(), [&](int64_t begin, int64_t end, int thread) {
    backward_sums_rows(rows(begin, end), tail.act != nullptr, workspace.data() + thread * count);
  });
  join_parts(workspace, count);

  T* abc =
      reinterpret_cast<T*>(workspace.data() + num_threads() * count);  // behind the sums; T is no wider than double
  const double n = static_cast<double>(shape.pixels());
  double dalpha_sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double dz_sum = workspace[c], dgamma_c = workspace[channels + c] * rstd[c];  // sum of dz * xhat
    dbeta[c] += static_cast<T>(dz_sum);
    dgamma[c] += static_cast<T>(dgamma_c);
    dalpha_sum += workspace[2 * channels + c];
    const double scale = double{gamma[c]} * rstd[c];
    abc[c] = static_cast<T>(scale);
    abc[channels + c] = static_cast<T>(-scale * rstd[c] * dgamma_c / n);
    abc[2 * channels + c] = static_cast<T>(-scale * dz_sum / n);
  }
  if (dalpha) *dalpha += static_cast<T>(dalpha_sum);
  parallel_for(shape.pixels(),
               [&](int64_t begin, int64_t end, int) { backward_dx_rows(rows(begin, end), tail.act != nullptr, abc); });
}

#define PLEAT_INSTANTIATE(T)                                                                                           \
  template void batch_norm_statistics<T>(std::span<T>, std::span<T>, std::span<T>, std::span<T>, std::span<const T>,   \
                                         const Nhwc&, const BatchNorm&, std::span<double>);                            \
  template void batch_norm_running<T>(std::span<T>, std::span<T>, std::span<const T>, std::span<const T>,              \
                                      const BatchNorm&);                                                               \
  template void batch_norm_forward<T>(std::span<T>, std::span<const T>, const BatchNormTail<T>&, std::span<const T>,   \
                                      std::span<const T>, std::span<const T>, std::span<const T>, const Nhwc&);        \
  template void batch_norm_backward<T>(std::span<T>, std::span<T>, T*, std::span<T>, std::span<T>, std::span<const T>, \
                                       std::span<const T>, const BatchNormTail<T>&, std::span<const T>,                \
                                       std::span<const T>, std::span<const T>, std::span<const T>, const Nhwc&,        \
                                       std::span<double>);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
