#include "ops/loss/feature_error.hpp"

#include "core/check.hpp"
#include "core/parallel_sum.hpp"

namespace pleat {

double feature_error(std::span<float> dx, std::span<const float> x, std::span<const float> teacher) {
  PLEAT_CHECK(!x.empty() && x.size() == teacher.size() && x.size() == dx.size(), "feature_error: ", x.size(),
              " features, ", teacher.size(), " of the teacher and ", dx.size(),
              " gradients, expected as many of each, at least 1");
  const auto sum_of = [&](const auto& f) {
    return parallel_sum(std::ssize(x), [&](int64_t begin, int64_t end) {
      double sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += f(i);
      return sum;
    });
  };
  const double squares = sum_of([&](int64_t i) { return static_cast<double>(teacher[i]) * teacher[i]; });
  const double all = squares > 0 ? squares : 1;
  const double error = sum_of([&](int64_t i) {
    const double d = static_cast<double>(x[i]) - teacher[i];
    return d * d;
  });
  const auto scale = static_cast<float>(2 / all);
  parallel_for(std::ssize(x), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) dx[i] = scale * (x[i] - teacher[i]);
  });
  return error / all;
}

}  // namespace pleat
