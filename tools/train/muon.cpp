#include "tools/train/muon.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/conv/gemm/gemm.hpp"

namespace pleat {
namespace {

constexpr int kIterations = 5;
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;
constexpr double kEps = 1e-7;  // added to the norm, so that a gradient of 0 is not divided by 0

void add_momentum(float* d, float* velocity, const float* grad, int64_t n, float momentum, bool nesterov) {
  const float grad_factor = nesterov ? 1.0f : 0.0f, velocity_factor = nesterov ? momentum : 1.0f;
  dispatch([=](auto) PLEAT_INLINE {
    for (int64_t i = 0; i < n; ++i) {
      velocity[i] = momentum * velocity[i] + grad[i];
      d[i] = grad_factor * grad[i] + velocity_factor * velocity[i];
    }
  });
}

void combine(float* to, float to_factor, const float* from, float from_factor, int64_t n) {
  dispatch([=](auto) PLEAT_INLINE {
    for (int64_t i = 0; i < n; ++i) to[i] = to_factor * to[i] + from_factor * from[i];
  });
}

}  // namespace

int64_t orthogonalise_scratch(int64_t rows, int64_t columns) {
  const int64_t side = std::min(rows, columns);
  return rows * columns + 2 * side * side;
}

void orthogonalise(std::span<float> x, int64_t rows, std::span<float> scratch) {
  const int64_t columns = std::ssize(x) / rows, side = std::min(rows, columns);
  PLEAT_CHECK(std::ssize(scratch) >= orthogonalise_scratch(rows, columns), "orthogonalise: ", scratch.size(),
              " floats of scratch, expected ", orthogonalise_scratch(rows, columns));
  double squares = 0;
  for (const float v : x) squares += double{v} * double{v};
  combine(x.data(), static_cast<float>(1 / (std::sqrt(squares) + kEps)), x.data(), 0, std::ssize(x));
  float *from = x.data(), *to = scratch.data(), *gram = to + x.size(), *factor = gram + side * side;
  const bool tall = rows > columns;  // then the iteration is on the transpose: X <- X (a + b A + c A^2), A = X^T X
  for (int i = 0; i < kIterations; ++i) {
    const Transpose first = tall ? Transpose::yes : Transpose::no, second = tall ? Transpose::no : Transpose::yes;
    gemm(gram, side, {from, columns, first}, {from, columns, second}, side, side, std::max(rows, columns), 0.0f);
    gemm(factor, side, {gram, side}, {gram, side}, side, side, side, 0.0f);
    combine(factor, kC, gram, kB, side * side);
    for (int64_t d = 0; d < side; ++d) factor[d * side + d] += kA;
    if (tall)
      gemm(to, columns, {from, columns}, {factor, side}, rows, columns, side, 0.0f);
    else
      gemm(to, columns, {factor, side}, {from, columns}, rows, columns, side, 0.0f);
    std::swap(from, to);
  }
  if (from != x.data()) std::copy_n(from, x.size(), x.data());
}

Muon::Muon(std::vector<MuonWeight> weights) : weights_(std::move(weights)) {
  for (const MuonWeight& w : weights_) {
    const std::vector<int64_t>& shape = w.param->shape;
    PLEAT_CHECK(shape.size() >= 2 && w.grad->shape == shape && w.velocity->shape == shape, "muon: weights ",
                to_string(shape), ", gradients ", to_string(w.grad->shape), ", velocities ",
                to_string(w.velocity->shape), ", expected the same of at least two dimensions");
    const int64_t size = num_elements(shape);
    scratch_size_ = std::max(scratch_size_, size + orthogonalise_scratch(shape[0], size / shape[0]));
  }
  std::ranges::stable_sort(weights_, std::ranges::greater(),
                           [](const MuonWeight& w) { return w.param->values.size(); });
  scratch_.resize(num_threads() * scratch_size_);
}

void Muon::step(double lr, double decay, const SgdOptions& options) {
  std::atomic<std::size_t> next = 0;
  parallel_for(num_threads(), [&](int64_t, int64_t, int thread) {
    const auto scratch = std::span(scratch_).subspan(thread * scratch_size_, scratch_size_);
    for (std::size_t i = next++; i < weights_.size(); i = next++) step(weights_[i], scratch, lr, decay, options);
  });
}

void Muon::step(const MuonWeight& w, std::span<float> scratch, double lr, double decay,
                const SgdOptions& options) const {
  const int64_t size = std::ssize(w.param->values), rows = w.param->shape[0], columns = size / rows;
  const std::span<float> d = scratch.first(size);
  add_momentum(d.data(), w.velocity->values.data(), w.grad->values.data(), size, static_cast<float>(options.momentum),
               options.nesterov);
  orthogonalise(d, rows, scratch.subspan(size));
  const double factor = std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(columns)));
  combine(w.param->values.data(), static_cast<float>(1 - decay), d.data(), static_cast<float>(-lr * factor), size);
}

}  // namespace pleat
