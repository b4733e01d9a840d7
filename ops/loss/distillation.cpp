#include "ops/loss/distillation.hpp"

#include <cmath>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/parallel_sum.hpp"
#include "ops/loss/softmax.hpp"

namespace pleat {
namespace {

template <class T>
void check_sizes(std::span<const T> logits, std::span<const T> teacher, int64_t classes, double temperature) {
  PLEAT_CHECK(!logits.empty() && logits.size() == teacher.size() && std::ssize(logits) % classes == 0,
              "distillation: ", logits.size(), " logits and ", teacher.size(),
              " of the teacher, expected as many of both, a multiple of ", classes, " classes");
  PLEAT_CHECK(temperature > 0, "distillation: temperature is ", temperature, ", expected more than 0");
}

}  // namespace

template <class T>
double distillation_forward(std::span<const T> logits, std::span<const T> teacher, int64_t classes,
                            double temperature) {
  check_sizes(logits, teacher, classes, temperature);
  const double scale = 1 / temperature;
  const int64_t batch = std::ssize(logits) / classes;
  const double sum = parallel_sum(batch, [&](int64_t begin, int64_t end) {
    double part = 0;
    for (int64_t n = begin; n < end; ++n) {
      const auto student_row = logits.subspan(n * classes, classes),
                 teacher_row = teacher.subspan(n * classes, classes);
      const double student_norm = log_sum_exp(student_row, scale), teacher_norm = log_sum_exp(teacher_row, scale);
      for (int64_t c = 0; c < classes; ++c) {
        const double log_p = scale * student_row[c] - student_norm, log_q = scale * teacher_row[c] - teacher_norm;
        part += std::exp(log_q) * (log_q - log_p);
      }
    }
    return part;
  });
  return temperature * temperature * sum / static_cast<double>(batch);
}

template <class T>
void distillation_backward(std::span<T> dlogits, std::span<const T> logits, std::span<const T> teacher, int64_t classes,
                           double temperature) {
  check_sizes(logits, teacher, classes, temperature);
  const double scale = 1 / temperature;
  const int64_t batch = std::ssize(logits) / classes;
  parallel_for(batch, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n) {
      const auto student_row = logits.subspan(n * classes, classes),
                 teacher_row = teacher.subspan(n * classes, classes);
      const double student_norm = log_sum_exp(student_row, scale), teacher_norm = log_sum_exp(teacher_row, scale);
      for (int64_t c = 0; c < classes; ++c) {
        const double p = std::exp(scale * student_row[c] - student_norm);
        const double q = std::exp(scale * teacher_row[c] - teacher_norm);
        dlogits[n * classes + c] = static_cast<T>(temperature / static_cast<double>(batch) * (p - q));
      }
    }
  });
}

#define PLEAT_INSTANTIATE(T)                                                                     \
  template double distillation_forward(std::span<const T>, std::span<const T>, int64_t, double); \
  template void distillation_backward(std::span<T>, std::span<const T>, std::span<const T>, int64_t, double);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
