#include "ops/loss/cross_entropy.hpp"

#include <cmath>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/parallel_sum.hpp"
#include "ops/loss/softmax.hpp"

namespace pleat {
namespace {

template <class T>
void check_sizes(std::span<const T> logits, std::span<const int32_t> labels, int64_t classes) {
  PLEAT_CHECK(!labels.empty() && std::ssize(logits) == std::ssize(labels) * classes, "cross_entropy: ", logits.size(),
              " logits, expected ", labels.size(), " pictures x ", classes, " classes");
}

}  // namespace

template <class T>
double cross_entropy_forward(std::span<const T> logits, std::span<const int32_t> labels, int64_t classes,
                             double label_smoothing) {
  check_sizes(logits, labels, classes);
  const double sum = parallel_sum(std::ssize(labels), [&](int64_t begin, int64_t end) {
    double part = 0;
    for (int64_t n = begin; n < end; ++n) {
      const std::span<const T> row = logits.subspan(n * classes, classes);
      double mean = 0;
      for (const T logit : row) mean += logit;
      mean /= static_cast<double>(classes);
      part += log_sum_exp(row) - (1 - label_smoothing) * row[labels[n]] - label_smoothing * mean;
    }
    return part;
  });
  return sum / static_cast<double>(labels.size());
}

template <class T>
void cross_entropy_backward(std::span<T> dlogits, std::span<const T> logits, std::span<const int32_t> labels,
                            int64_t classes, double label_smoothing) {
  check_sizes(logits, labels, classes);
  const double scale = 1 / static_cast<double>(labels.size());
  const double background = label_smoothing / static_cast<double>(classes);
  parallel_for(std::ssize(labels), [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n) {
      const std::span<const T> row = logits.subspan(n * classes, classes);
      const double normaliser = log_sum_exp(row);
      for (int64_t c = 0; c < classes; ++c) {
        const double target = background + (c == labels[n] ? 1 - label_smoothing : 0);
        dlogits[n * classes + c] = static_cast<T>(scale * (std::exp(row[c] - normaliser) - target));
      }
    }
  });
}

#define PLEAT_INSTANTIATE(T)                                                                            \
  template double cross_entropy_forward(std::span<const T>, std::span<const int32_t>, int64_t, double); \
  template void cross_entropy_backward(std::span<T>, std::span<const T>, std::span<const int32_t>, int64_t, double);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
