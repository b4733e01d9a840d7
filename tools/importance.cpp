#include "tools/importance.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/progress.hpp"
#include "fold/engine/engine.hpp"
#include "fold/mask.hpp"
#include "ops/loss/softmax.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

constexpr int64_t kBatch = 10;

// The logits of all n pictures, [n, classes].
std::vector<float> logits_of(const Model& model, std::span<const float> pictures, int64_t n) {
  const int64_t batch = std::min(n, kBatch), size = std::ssize(pictures) / n;
  Engine engine(model, {.batch = batch, .tune = false});
  const int64_t classes = engine.output_shape().c;
  std::vector<float> logits;
  for (int64_t first = 0; first < n; first += batch) {
    const int64_t count = std::min(batch, n - first);
    std::ranges::copy(pictures.subspan(first * size, count * size), engine.input().begin());
    const std::span<const float> out = engine.run().first(count * classes);
    logits.insert(logits.end(), out.begin(), out.end());
  }
  return logits;
}

}  // namespace

double divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_norm = log_sum_exp(p_logits), q_norm = log_sum_exp(q_logits);
  double sum = 0;
  for (std::size_t c = 0; c < p_logits.size(); ++c) {
    const double log_p = p_logits[c] - p_norm;
    sum += std::exp(log_p) * (log_p - (q_logits[c] - q_norm));
  }
  return sum < 0 ? 0 : sum;  // rounding can make it negative
}

Losses alpha_losses(const Model& model) {
  return [cells = foldable_activations(model)](const std::vector<std::string>& masks) {
    std::vector<double> losses;
    for (const std::string& mask : masks) {
      losses.push_back(0);
      for (std::size_t i = 0; i < mask.size(); ++i)
        if (mask[i] == '.') losses.back() += 1 - cells[i].value;
    }
    return losses;
  };
}

Losses divergences(Model model, AlignedVector<float> pictures, bool quiet) {
  const int64_t size = infer_shapes(model.graph)[0].size(), n = std::ssize(pictures) / size;
  return [model = std::move(model), pictures = std::move(pictures), n, quiet](const std::vector<std::string>& masks) {
    const std::vector<float> before = logits_of(model, pictures, n);
    const std::size_t classes = before.size() / n;
    Progress progress("loss", "networks", std::ssize(masks), quiet);
    std::vector<double> losses;
    for (const std::string& mask : masks) {
      const std::vector<float> after = logits_of(drop_activations(model, mask), pictures, n);
      double sum = 0;
      for (std::size_t i = 0; i < before.size(); i += classes)
        sum += divergence(std::span(before).subspan(i, classes), std::span(after).subspan(i, classes));
      losses.push_back(sum / static_cast<double>(n));
      progress.update(std::ssize(losses));
    }
    return losses;
  };
}

}  // namespace pleat
