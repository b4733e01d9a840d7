#include "fold/proof.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/finite.hpp"

namespace pleat {
namespace {

double difference(float a, float b) {
  return std::abs(double{a} - double{b});
}

}  // namespace

void Proof::add_logits(std::span<const float> a, std::span<const float> b, int64_t classes) {
  PLEAT_CHECK(a.size() == b.size(), "verify: got ", a.size(), " logits of one network and ", b.size(),
              " of the other, expected as many");
  check_logits(a, classes, "verify: A");
  check_logits(b, classes, "verify: B");
  if (images_ == 0 && !a.empty()) lowest_ = highest_ = a[0];
  for (std::size_t i = 0; i < a.size(); ++i) {
    max_abs_ = std::max(max_abs_, difference(a[i], b[i]));
    lowest_ = std::min<double>(lowest_, a[i]);
    highest_ = std::max<double>(highest_, a[i]);
    sum_ += a[i];
    squares_ += double{a[i]} * a[i];
    squared_diffs_ += difference(a[i], b[i]) * difference(a[i], b[i]);
  }
  logits_ += std::ssize(a);
  const auto best = [&](std::span<const float> row) { return std::max_element(row.begin(), row.end()) - row.begin(); };
  for (std::size_t i = 0; i < a.size(); i += classes) {
    same_ += best(a.subspan(i, classes)) == best(b.subspan(i, classes));
    ++images_;
  }
}

void Proof::add_maps(std::span<const float> a, std::span<const float> b, const Nhwc& shape, int64_t border) {
  PLEAT_CHECK(a.size() == b.size() && static_cast<int64_t>(a.size()) == shape.size(), "verify: got ", a.size(), " and ",
              b.size(), " numbers, expected ", to_string(shape), " from each network");
  for (const auto map : {a, b}) {
    const std::size_t wrong = first_not_finite(map);
    if (wrong < map.size())
      throw std::runtime_error(
          concat("verify: the last map's number ", wrong, " is ", map[wrong], ", expected a finite number"));
  }
  const auto inside = [&](int64_t i, int64_t extent) { return i >= border && i < extent - border; };
  for (int64_t i = 0; i < shape.size(); ++i) {
    const int64_t column = i / shape.c % shape.w, row = i / shape.c / shape.w % shape.h;
    const double d = difference(a[i], b[i]);
    max_map_ = std::max(max_map_, d);
    if (inside(row, shape.h) && inside(column, shape.w)) max_interior_ = std::max(max_interior_, d);
  }
}

double Proof::max_rel_diff() const {
  const double range = highest_ - lowest_;
  return max_abs_ == 0 ? 0 : max_abs_ / range;
}

double Proof::rms_rel_diff() const {
  if (squared_diffs_ == 0) return 0;
  const double n = static_cast<double>(logits_), mean = sum_ / n;
  return std::sqrt(squared_diffs_ / n) / std::sqrt(squares_ / n - mean * mean);
}

double Proof::same_top1() const {
  return images_ == 0 ? 1 : static_cast<double>(same_) / static_cast<double>(images_);
}

}  // namespace pleat
