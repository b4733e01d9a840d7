#include "ops/conv/choose_training_algorithm.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "ops/conv/pointwise_conv2d.hpp"
#include "ops/conv/winograd/winograd_pass.hpp"

namespace pleat {

std::vector<TrainingConv> training_convs(const Graph& graph, const std::vector<Nhwc>& shapes, const ExecPlan& plan,
                                         int64_t batch) {
  std::vector<TrainingConv> convs;
  for (const PlannedStep& step : plan.steps) {
    if (step.statistics || step.batch_norm >= 0) continue;
    const Op& op = graph.nodes[step.node].op;
    if (!std::holds_alternative<Conv2d>(op)) continue;
    const int input = step.inputs[0];
    Nhwc x_shape = shapes[input];
    x_shape.n = plan.pieces[step.group];
    if (algorithms_for(x_shape, std::get<Conv2d>(op), plan.bf16[input]).size() == 1) continue;
    convs.push_back({.node = step.node,
                     .op = std::get<Conv2d>(op),
                     .x_shape = x_shape,
                     .bf16 = plan.bf16[input],
                     .needs_dx = input != 0,
                     .pieces = batch / x_shape.n});
  }
  return convs;
}

std::vector<Algorithm> algorithms_for(const Nhwc& x_shape, const Conv2d& op, bool bf16) {
  const auto algorithms_with = [&]<class T>(T) -> std::vector<Algorithm> {
    if (WinogradPass<T>::is_supported(op)) return {Algorithm::direct, Algorithm::winograd2, Algorithm::winograd4};
    if (PointwiseConv2d<T>::is_supported(x_shape, op)) return {Algorithm::direct, Algorithm::product};
    return {Algorithm::direct};
  };
  return bf16 ? algorithms_with(Bf16()) : algorithms_with(float());
}

ConvAlgorithms usual_algorithms(const TrainingConv& conv) {
  if (conv.op.kernel == 1) return {Algorithm::product, Algorithm::product, Algorithm::product};
  const int64_t channels = std::min<int64_t>(conv.x_shape.c, conv.op.out), enough = conv.bf16 ? 64 : 16;
  const Algorithm best = channels < enough                              ? Algorithm::direct
                         : std::min(conv.x_shape.h, conv.x_shape.w) > 2 ? Algorithm::winograd4
                                                                        : Algorithm::winograd2;
  return {best, best, best};
}

std::string to_text(const ConvAlgorithms& algorithms) {
  return {static_cast<char>(algorithms.forward), static_cast<char>(algorithms.backward_data),
          static_cast<char>(algorithms.backward_weights)};
}

std::vector<ConvAlgorithms> parse_algorithms(std::string_view text, const std::vector<TrainingConv>& convs) {
  std::vector<ConvAlgorithms> all;
  if (text.empty()) {
    for (const TrainingConv& conv : convs) all.push_back(usual_algorithms(conv));
    return all;
  }
  PLEAT_CHECK(text.size() == 3 * convs.size(), "algorithms '", text, "': ", text.size(), " letters, expected ",
              3 * convs.size(), ", three for each 3x3 or 1x1 convolution of stride 1");
  for (std::size_t i = 0; i < text.size(); i += 3) {
    const auto letter = [&](std::size_t pass) {
      const auto algorithm = static_cast<Algorithm>(text[i + pass]);
      const TrainingConv& conv = convs[i / 3];
      const std::vector<Algorithm> known = algorithms_for(conv.x_shape, conv.op, conv.bf16);
      PLEAT_CHECK(std::ranges::find(known, algorithm) != known.end(), "algorithms '", text, "': letter ", i + pass + 1,
                  " is '", text[i + pass], "', expected ", conv.op.kernel == 3 ? "d, 2 or 4" : "d or p");
      return algorithm;
    };
    all.push_back({letter(0), letter(1), letter(2)});
  }
  return all;
}

}  // namespace pleat
