#include "tools/classify.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/finite.hpp"
#include "data/transform.hpp"
#include "ops/loss/softmax.hpp"
#include "tools/escaped.hpp"

namespace pleat {

Prediction classify(const LogitsFunction& logits_of_picture, const Model& model, const std::string& file, int64_t top) {
  const PictureFormat format = picture_format(model);
  const Picture picture = load_picture(file, format.channels);
  std::vector<float> input(static_cast<std::size_t>(format.height) * format.width * format.channels);
  Transform(format, std::nullopt)(input, picture.pixels(), Rng(0));
  const std::span<const float> logits = logits_of_picture(input, 1);
  check_logits(logits, logits.size(), file);

  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  order.resize(std::min<std::size_t>(order.size(), top));
  Prediction prediction{file, {}, {}};
  const double normaliser = log_sum_exp(logits);
  for (const int c : order) {
    prediction.classes.push_back(model.classes.empty() ? std::to_string(c) : model.classes[c]);
    prediction.scores.push_back(std::exp(logits[c] - normaliser));
  }
  return prediction;
}

void print_prediction(std::ostream& out, const Prediction& p) {
  out << p.file << '\n';
  for (std::size_t i = 0; i < p.classes.size(); ++i)
    out << "  " << std::fixed << std::setprecision(4) << p.scores[i] << "  " << escaped(p.classes[i]) << '\n';
}

nlohmann::ordered_json to_json(const Prediction& p) {
  return {{"file", p.file}, {"classes", p.classes}, {"scores", p.scores}};
}

}  // namespace pleat
