#include "ops/batch_norm.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/batch_norm_rows.hpp"

namespace pleat {
namespace {

// So few pixels that whoever has just written them has them in a cache of its own.
constexpr int64_t kNearBytes = 384 << 10;

template <class T>
BatchNormRows<T> rows_of(std::span<const T> x, const BatchNormTail<T>& tail, const BatchNormSaved<T>& saved,
                         const BatchNormParams<T>& params) {
  return {.x = x.data(),
          .residual = tail.residual.data(),
          .mean = saved.mean.data(),
          .rstd = saved.rstd.data(),
          .gamma = params.gamma.data(),
          .beta = params.beta.data(),
          .dx_factors = saved.dx_factors.data(),
          .act = tail.act != nullptr,
          .s = tail.act ? tail.act->s : Nonlinearity::relu,
          .params = tail.act ? alpha_params(tail.act->s, tail.alpha) : AlphaParams<compute_t<T>>{},
          .channels = std::ssize(saved.mean)};
}

// Adds up every thread's sums, in thread order, into the first's.
void join_parts(AlignedVector<double>& sums, int64_t channels) {
  const std::size_t count = 3 * channels;
  for (std::size_t i = count; i < sums.size(); ++i) sums[i % count] += sums[i];
}

// Statistics of a part of a batch's pixels: their number, then each channel's mean, and how far its values are from
// that, squared and summed.
std::size_t part_size(int64_t channels) {
  return 1 + 2 * channels;
}

template <class T>
void read_part(std::span<double> part, const BatchNormSaved<T>& saved, std::size_t thread) {
  const int64_t channels = std::ssize(saved.mean);
  const auto count = part[0] = static_cast<double>(saved.pixels[thread]);
  if (count == 0) return;
  const double* sums = saved.sums.data() + thread * 3 * channels;
  for (int64_t c = 0; c < channels; ++c) {
    const double shifted = sums[c] / count;
    part[1 + c] = saved.shift[thread * channels + c] + shifted;
    part[1 + channels + c] = std::max(0.0, sums[channels + c] - count * shifted * shifted);
  }
}

// The statistics of all threads' parts, and of those of all ranks, in their order.
template <class T>
std::span<const double> all_parts(BatchNormSaved<T>& saved, ProcessGroup* ranks) {
  const std::size_t size = part_size(std::ssize(saved.mean)), mine = saved.pixels.size() * size;
  saved.of_ranks.resize(ranks != nullptr ? mine * (1 + ranks->size()) : mine);
  const std::span all(saved.of_ranks);
  for (std::size_t t = 0; t < saved.pixels.size(); ++t) read_part<T>(all.subspan(t * size, size), saved, t);
  if (ranks == nullptr) return all;
  ranks->gather(all.subspan(mine), all.first(mine));
  return all.subspan(mine);
}

}  // namespace

template <class T>
BatchNormSaved<T>::BatchNormSaved(int64_t channels)
    : mean(channels),
      rstd(channels),
      dx_factors(3 * channels),
      pixels(num_threads()),
      shift(num_threads() * channels),
      sums(num_threads() * 3 * channels) {}

template <class T>
void batch_norm_add_statistics(BatchNormSaved<T>& saved, std::span<const T> x, int thread) {
  const auto channels = std::ssize(saved.mean), pixels = std::ssize(x) / channels;
  auto* const shift = saved.shift.data() + thread * channels;
  if (saved.pixels[thread] == 0) std::copy_n(x.begin(), channels, shift);
  saved.pixels[thread] += pixels;
  batch_norm_statistics_rows(BatchNormRows<T>{.x = x.data(),
                                              .shift = shift,
                                              .sums = saved.sums.data() + thread * 3 * channels,
                                              .near = std::ssize(x) * int64_t{sizeof(T)} <= kNearBytes,
                                              .end = pixels,
                                              .channels = channels});
}

template <class T>
void batch_norm_finish_statistics(BatchNormSaved<T>& saved, std::span<compute_t<T>> running_mean,
                                  std::span<compute_t<T>> running_var, const BatchNorm& op, ProcessGroup* ranks) {
  using C = compute_t<T>;
  const int64_t channels = std::ssize(saved.mean);
  const std::span<const double> parts = all_parts(saved, ranks);
  const auto for_parts = [&](const auto& body) {
    for (std::size_t at = 0; at < parts.size(); at += part_size(channels))
      if (parts[at] != 0) body(parts[at], parts.data() + at + 1);
  };
  double n = 0;
  for_parts([&](double count, const double*) { n += count; });
  PLEAT_CHECK(n >= 2, "batch_norm: training needs two values a channel, got ", n);
  for (int64_t c = 0; c < channels; ++c) {
    double batch_mean = 0, variance = 0;
    for_parts([&](double count, const double* part) { batch_mean += count / n * part[c]; });
    for_parts([&](double count, const double* part) {
      variance += (part[channels + c] + count * (part[c] - batch_mean) * (part[c] - batch_mean)) / n;
    });
    saved.mean[c] = static_cast<C>(batch_mean);
    saved.rstd[c] = static_cast<C>(1 / std::sqrt(variance + op.eps));
    running_mean[c] = static_cast<C>((1 - op.momentum) * running_mean[c] + op.momentum * batch_mean);
    running_var[c] = static_cast<C>((1 - op.momentum) * running_var[c] + op.momentum * variance * n / (n - 1));
  }
  std::fill(saved.pixels.begin(), saved.pixels.end(), 0);
  std::fill(saved.sums.begin(), saved.sums.end(), 0.0);
}

template <class T>
void batch_norm_running(BatchNormSaved<T>& saved, std::span<const compute_t<T>> running_mean,
                        std::span<const compute_t<T>> running_var, const BatchNorm& op) {
  for (std::size_t c = 0; c < saved.mean.size(); ++c) {
    saved.mean[c] = running_mean[c];
    saved.rstd[c] = static_cast<compute_t<T>>(1 / std::sqrt(double{running_var[c]} + op.eps));
  }
}

template <class T>
void batch_norm_forward(std::span<T> y, std::span<const T> x, const BatchNormTail<T>& tail,
                        const BatchNormSaved<T>& saved, const BatchNormParams<T>& params) {
  BatchNormRows<T> rows = rows_of(x, tail, saved, params);
  rows.y = y.data();
  rows.end = std::ssize(x) / rows.channels;
  batch_norm_forward_rows(rows);
}

template <class T>
void batch_norm_backward_sums(BatchNormSaved<T>& saved, std::span<T> dz, std::span<const T> dy, std::span<const T> x,
                              const BatchNormTail<T>& tail, const BatchNormParams<T>& params, int thread) {
  const auto channels = std::ssize(saved.mean);
  BatchNormRows<T> rows = rows_of(x, tail, saved, params);
  rows.dy = dy.data();
  rows.dz = dz.data();
  rows.sums = saved.sums.data() + thread * 3 * channels;
  rows.near = std::ssize(x) * int64_t{sizeof(T)} <= kNearBytes;
  rows.end = std::ssize(x) / channels;
  batch_norm_backward_sums_rows(rows);
}

template <class T>
void batch_norm_backward_finish(BatchNormSaved<T>& saved, compute_t<T>* dalpha, std::span<compute_t<T>> dgamma,
                                std::span<compute_t<T>> dbeta, const BatchNormParams<T>& params, const Nhwc& shape,
                                ProcessGroup* ranks) {
  using C = compute_t<T>;
  const int64_t channels = shape.c;
  const double n = static_cast<double>(shape.pixels() * (ranks != nullptr ? ranks->size() : 1));
  join_parts(saved.sums, channels);
  saved.of_ranks.assign(saved.sums.begin(), saved.sums.begin() + 2 * channels);
  if (ranks != nullptr) ranks->sum(std::span<double>(saved.of_ranks));
  double dalpha_sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double dz_sum = saved.sums[c], dgamma_c = saved.sums[channels + c] * saved.rstd[c];  // sum of dz * xhat
    dbeta[c] += static_cast<C>(dz_sum);
    dgamma[c] += static_cast<C>(dgamma_c);
    dalpha_sum += saved.sums[2 * channels + c];
    const double scale = double{params.gamma[c]} * saved.rstd[c];
    saved.dx_factors[c] = static_cast<C>(scale);
    const double dgamma_of_ranks = saved.of_ranks[channels + c] * saved.rstd[c];
    saved.dx_factors[channels + c] = static_cast<C>(-scale * saved.rstd[c] * dgamma_of_ranks / n);
    saved.dx_factors[2 * channels + c] = static_cast<C>(-scale * saved.of_ranks[c] / n);
  }
  if (dalpha) *dalpha += static_cast<C>(dalpha_sum);
  std::fill(saved.sums.begin(), saved.sums.end(), 0.0);
}

template <class T>
void batch_norm_backward_dx(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const BatchNormTail<T>& tail,
                            const BatchNormSaved<T>& saved, const BatchNormParams<T>& params) {
  BatchNormRows<T> rows = rows_of(x, tail, saved, params);
  rows.dy = dy.data();
  rows.dx = dx.data();
  rows.end = std::ssize(x) / rows.channels;
  batch_norm_backward_dx_rows(rows);
}

#define PLEAT_INSTANTIATE(T)                                                                                          \
  template struct BatchNormSaved<T>;                                                                                  \
  template void batch_norm_add_statistics(BatchNormSaved<T>&, std::span<const T>, int);                               \
  template void batch_norm_finish_statistics(BatchNormSaved<T>&, std::span<compute_t<T>>, std::span<compute_t<T>>,    \
                                             const BatchNorm&, ProcessGroup*);                                        \
  template void batch_norm_running(BatchNormSaved<T>&, std::span<const compute_t<T>>, std::span<const compute_t<T>>,  \
                                   const BatchNorm&);                                                                 \
  template void batch_norm_forward(std::span<T>, std::span<const T>, const BatchNormTail<T>&,                         \
                                   const BatchNormSaved<T>&, const BatchNormParams<T>&);                              \
  template void batch_norm_backward_sums(BatchNormSaved<T>&, std::span<T>, std::span<const T>, std::span<const T>,    \
                                         const BatchNormTail<T>&, const BatchNormParams<T>&, int);                    \
  template void batch_norm_backward_finish(BatchNormSaved<T>&, compute_t<T>*, std::span<compute_t<T>>,                \
                                           std::span<compute_t<T>>, const BatchNormParams<T>&, const Nhwc&,           \
                                           ProcessGroup*);                                                            \
  template void batch_norm_backward_dx(std::span<T>, std::span<const T>, std::span<const T>, const BatchNormTail<T>&, \
                                       const BatchNormSaved<T>&, const BatchNormParams<T>&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
