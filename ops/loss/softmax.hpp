// The softmax of one row of logits, by its normaliser.
#pragma once

#include <cmath>
#include <span>

namespace pleat {

/// log sum_j exp(scale * row[j]), in double. The largest term is taken out, so that nothing overflows. With the result,
/// log softmax(scale * row)[j] = scale * row[j] - result.
template <class T>
double log_sum_exp(std::span<const T> row, double scale = 1) {
  double largest = scale * row[0], sum = 0;
  for (const T value : row) largest = scale * value > largest ? scale * value : largest;
  for (const T value : row) sum += std::exp(scale * value - largest);
  return largest + std::log(sum);
}

}  // namespace pleat
