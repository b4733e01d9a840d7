#include "tools/train/feature_part.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "fold/rewrite.hpp"
#include "ops/model_file.hpp"

namespace pleat {

Model feature_part(const Model& model) {
  const auto pools = [](const Node& node) {
    return std::holds_alternative<GlobalAvgPool>(node.op) || std::holds_alternative<Flatten>(node.op);
  };
  const auto pooling = std::ranges::find_if(model.graph.nodes, pools);
  PLEAT_CHECK(pooling != model.graph.nodes.end(),
              "features: the network has neither a global pooling nor a flattening, whose input could be learned");
  Model part = cut_after(model, pooling->inputs[0]);
  // Flattened features are f32 whatever the precision of the values before them.
  part.graph.add(pooling->name, Flatten{}, {part.graph.output()});
  verify(part);
  return part;
}

Model with_frozen_norms(const Model& model) {
  const auto is_norm = [](const Node& node) { return std::holds_alternative<BatchNorm>(node.op); };
  if (std::ranges::none_of(model.graph.nodes, is_norm)) return model;
  const std::string keep_all(foldable_activations(model).size(), '#');
  Model merged = fold(model, {.mask = keep_all, .merge = FoldOptions::Merge::cheaper}).model;
  const auto left = std::ranges::find_if(merged.graph.nodes, is_norm);
  PLEAT_CHECK(left == merged.graph.nodes.end(), "batch norm '", left->name,
              "' cannot be frozen: no convolution before it takes it in");
  return merged;
}

}  // namespace pleat
