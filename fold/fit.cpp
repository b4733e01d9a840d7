#include "fold/fit.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/conv/gemm/gemm.hpp"

namespace pleat {
namespace {

constexpr int64_t kChunkBytes = 16 << 20;  // of the windows that are multiplied at once
constexpr double kMostBytes = 2e9;         // of three matrices: the sums, the covariance and its factor

Offsets middle(const Offsets& offsets, int size) {
  if (offsets.size() <= size) return offsets;
  const int low = offsets.lo + (offsets.size() - size) / 2;
  return {low, low + size - 1};
}

}  // namespace

MapShape middle(MapShape map, int kernel) {
  map.rows = middle(map.rows, kernel);
  map.columns = middle(map.columns, kernel);
  return map;
}

ConvolutionFit::ConvolutionFit(const MapShape& map, const Nhwc& x, const Nhwc& y)
    : map_(map), x_(x), y_(y), width_(int64_t{map.rows.size()} * map.columns.size() * map.in + 1) {
  PLEAT_CHECK(map.groups == 1 && x.c == map.in && y.c == map.out, "fit: a map of ", map.groups, " groups, ", map.in,
              " to ", map.out, " channels, for values of ", x.c, " and ", y.c, " channels; expected one group");
  const double bytes = 24.0 * static_cast<double>(width_) * static_cast<double>(width_ + map.out);
  PLEAT_CHECK(bytes <= kMostBytes, "fit: a kernel of ", map.kernel(), " on ", map.in, " channels has ", width_,
              " unknowns an output, whose equations take ", bytes / 1e9, " GB, expected at most ", kMostBytes / 1e9,
              "\nhint: a smaller --max-kernel");
  uu_.resize(width_ * width_);
  yu_.resize(map.out * width_);
  yy_.resize(map.out);
  const int64_t rows = std::max<int64_t>(1, kChunkBytes / (8 * width_));
  windows_.resize(rows * width_);
  outputs_.resize(rows * map.out);
}

// Rows are output pixels, counted through all pictures. Windows reach past the border into zeros.
void ConvolutionFit::gather(std::span<double> windows, std::span<double> outputs, std::span<const float> x,
                            std::span<const float> y, int64_t first_row, int64_t rows) const {
  parallel_for(rows, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t pixel = first_row + row, picture = pixel / (y_.h * y_.w);
      const int64_t centre_row = pixel / y_.w % y_.h * map_.stride, centre_column = pixel % y_.w * map_.stride;
      double* u = windows.data() + row * width_;
      for (int64_t r = centre_row + map_.rows.lo; r <= centre_row + map_.rows.hi; ++r)
        for (int64_t c = centre_column + map_.columns.lo; c <= centre_column + map_.columns.hi; ++c, u += x_.c) {
          const bool inside = r >= 0 && r < x_.h && c >= 0 && c < x_.w;
          if (inside)
            std::copy_n(x.data() + ((picture * x_.h + r) * x_.w + c) * x_.c, x_.c, u);
          else
            std::fill_n(u, x_.c, 0.0);
        }
      *u = 1;
      std::copy_n(y.data() + pixel * y_.c, y_.c, outputs.data() + row * y_.c);
    }
  });
}

void ConvolutionFit::add_rows(std::span<const double> windows, std::span<const double> outputs, int64_t rows) {
  const double* const u = windows.data();
  // Each thread adds to rows of its own, in the order of the pictures: the sums do not depend on timing.
  parallel_for(width_, [&](int64_t begin, int64_t end, int) {
    gemm<double>(uu_.data() + begin * width_, width_, {u + begin, width_, Transpose::yes}, {u, width_}, end - begin,
                 width_, rows, 1);
  });
  parallel_for(y_.c, [&](int64_t begin, int64_t end, int) {
    gemm<double>(yu_.data() + begin * width_, width_, {outputs.data() + begin, y_.c, Transpose::yes}, {u, width_},
                 end - begin, width_, rows, 1);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t o = begin; o < end; ++o) yy_[o] += outputs[row * y_.c + o] * outputs[row * y_.c + o];
  });
  count_ += rows;
}

void ConvolutionFit::add(std::span<const float> x, std::span<const float> y, int64_t pictures) {
  PLEAT_CHECK(std::ssize(x) >= pictures * x_.h * x_.w * x_.c && std::ssize(y) >= pictures * y_.h * y_.w * y_.c,
              "fit: ", x.size(), " inputs and ", y.size(), " outputs, expected those of ", pictures, " pictures");
  const int64_t chunk = std::ssize(windows_) / width_, all = pictures * y_.h * y_.w;
  for (int64_t first = 0; first < all; first += chunk) {
    const int64_t rows = std::min(chunk, all - first);
    gather(windows_, outputs_, x, y, first, rows);
    add_rows(windows_, outputs_, rows);
  }
}

ConvolutionFit::Result ConvolutionFit::solve(double ridge) const {
  const int64_t n = width_ - 1;  // unknowns of an output besides its bias
  const auto count = static_cast<double>(count_);
  if (count_ <= width_)
    throw std::runtime_error(
        concat("fit: ", count_, " windows of pictures for ", width_,
               " unknowns, expected more windows than unknowns\nhint: more pictures, or a smaller --max-kernel"));
  const auto mean_u = [&](int64_t i) { return uu_[i * width_ + n] / count; };
  const auto mean_y = [&](int64_t o) { return yu_[o * width_ + n] / count; };
  AlignedVector<double> covariance(n * n), weight(map_.out * n);
  double variance = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) covariance[i * n + j] = uu_[i * width_ + j] / count - mean_u(i) * mean_u(j);
    variance += covariance[i * n + i] / static_cast<double>(n);
  }
  if (!(variance > 0) || !std::isfinite(variance))
    throw std::runtime_error(concat("fit: the inputs have a variance of ", variance,
                                    " over all pictures, expected above 0\nhint: other pictures; these say nothing"));
  AlignedVector<double> factor = covariance;
  for (int64_t i = 0; i < n; ++i) factor[i * n + i] += ridge * variance;
  for (int64_t o = 0; o < map_.out; ++o)
    for (int64_t i = 0; i < n; ++i) weight[o * n + i] = yu_[o * width_ + i] / count - mean_y(o) * mean_u(i);
  const AlignedVector<double> covariance_y = weight;  // of y and u
  solve_positive_definite(factor.data(), weight.data(), n, map_.out);
  AlignedVector<double> response(map_.out * n);  // weight * covariance
  parallel_for(map_.out, [&](int64_t begin, int64_t end, int) {
    gemm<double>(response.data() + begin * n, n, {weight.data() + begin * n, n}, {covariance.data(), n}, end - begin, n,
                 n, 0);
  });

  Result result{{map_, std::vector<double>(map_.out * n), std::vector<double>(map_.out)}};
  result.mean.resize(map_.out);
  result.variance.resize(map_.out);
  double all = 0, left = 0;
  for (int64_t o = 0; o < map_.out; ++o) {
    const std::span<const double> w(weight.data() + o * n, n);
    const double with_y = std::inner_product(w.begin(), w.end(), covariance_y.begin() + o * n, 0.0);
    const double fitted = std::inner_product(w.begin(), w.end(), response.begin() + o * n, 0.0);
    const double variance_y = std::max(0.0, yy_[o] / count - mean_y(o) * mean_y(o));
    all += variance_y;
    left += std::max(0.0, variance_y - 2 * with_y + fitted);
    const double gain = fitted > 0 ? std::pow(variance_y / fitted, 0.25) : 0;
    double bias = mean_y(o);
    for (int64_t i = 0; i < n; ++i) {
      result.map.weight[o * n + i] = gain * w[i];
      bias -= gain * w[i] * mean_u(i);
    }
    result.map.bias[o] = bias;
    result.mean[o] = mean_y(o);
    result.variance[o] = gain * gain * std::max(0.0, fitted);
  }
  result.unexplained = all > 0 ? left / all : 0;
  return result;
}

}  // namespace pleat
