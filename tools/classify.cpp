#include "tools/classify.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <numeric>

#include "data/augment.hpp"
#include "data/picture.hpp"
#include "ops/softmax.hpp"

namespace pleat {

double usual_crop(const Model& model) {
  return std::get<Input>(model.graph.nodes[0].op).height >= 128 ? 0.875 : 1;
}

Prediction classify(Engine& engine, const Model& model, const std::string& file, int64_t top, double crop) {
  const Input& input = std::get<Input>(model.graph.nodes[0].op);
  int height = 0, width = 0;
  const std::vector<uint8_t> picture = load_picture(file, height, width, input.channels);
  const Normalizer normalize(input.height, input.width, input.channels, model.mean, model.std);
  normalize(engine.input(), fit_picture(picture, height, width, input.channels, input.height, input.width, crop));
  const std::span<const float> logits = engine.run();

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
    out << "  " << std::fixed << std::setprecision(4) << p.scores[i] << "  " << p.classes[i] << '\n';
}

nlohmann::ordered_json to_json(const Prediction& p) {
  return {{"file", p.file}, {"classes", p.classes}, {"scores", p.scores}};
}

}  // namespace pleat
