#include "fold/merge.hpp"

#include <algorithm>
#include <map>

#include "fold/border_correction.hpp"
#include "fold/rewrite.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

bool holds(const Graph& graph, const Region& group, bool (*is)(const Op&)) {
  return std::any_of(group.nodes.begin(), group.nodes.end(), [&](int i) { return is(graph.nodes[i].op); });
}

// The linear maps from the group's input to each of its values, by node; for the input itself it is the identity.
std::map<int, LinearMap> group_maps(const Model& model, const Region& group, const std::vector<Nhwc>& shapes) {
  std::map<int, LinearMap> maps = {{group.from, identity_map(group.map.in)}};
  for (const int i : group.nodes) {
    const Node& node = model.graph.nodes[i];
    const int x = node.inputs[0];
    if (std::holds_alternative<Add>(node.op)) {
      maps[i] = add(maps.at(x), maps.at(node.inputs[1]));
    } else {
      LinearMap own = linear_map(node, shapes[x], model.tensors);
      maps[i] = x == group.from ? std::move(own) : compose(own, maps.at(x));
    }
  }
  return maps;
}

// Adds the op that the group becomes, or two ops and their sum if its borders are corrected. Returns the index of the
// node that gives the group's output in the new graph.
int add_merged(Rewrite& rewrite, const Model& model, const Region& group, const std::vector<Nhwc>& shapes,
               Borders borders) {
  const std::map<int, LinearMap> maps = group_maps(model, group, shapes);
  const LinearMap& map = maps.at(group.to);
  const MapShape& s = map.shape;
  const std::string& name = merged_name(model.graph, group);
  const Nhwc y = shapes[group.to];
  Nhwc x = shapes[group.from];
  int input = rewrite[group.from];
  if (group.pooled) {
    const auto pool = std::find_if(group.nodes.begin(), group.nodes.end(), [&](int i) {
      return std::holds_alternative<GlobalAvgPool>(model.graph.nodes[i].op);
    });
    input = rewrite.add(model.graph.nodes[*pool].name, GlobalAvgPool{}, {input});
    x.h = x.w = 1;
  }
  Tensor weight = kernel_tensor(map);
  const bool corrected = borders == Borders::exact && !group.exact();
  if (!corrected) rewrite.set(name + ".bias", bias_tensor(map));
  const bool linear = s.pointwise() && x.h == 1 && x.w == 1 &&
                      holds(model.graph, group, [](const Op& op) { return std::holds_alternative<Linear>(op); });
  if (linear) {
    weight.shape.resize(2);
    rewrite.set(name + ".weight", std::move(weight));
    return rewrite.add(name, Linear{.out = s.out, .bias = true}, {input});
  }
  rewrite.set(name + ".weight", std::move(weight));
  const int kernel = s.kernel();
  const bool diagonal = s.groups > 1 && s.groups == s.in && s.groups == s.out;
  const Op op = diagonal ? Op(DepthwiseConv2d{.kernel = kernel, .stride = s.stride, .pad = {}, .bias = !corrected})
                         : Op(Conv2d{s.out, kernel, s.stride, {}, s.groups, !corrected});
  const int merged = rewrite.add_window(name, op, input, s, x, y);
  if (!corrected) return merged;
  const std::string border = rewrite.unused(name + ".border");
  BorderTensors tensors = border_tensors(model, group, shapes, maps);
  if (!tensors.weight.values.empty()) rewrite.set(border + ".weight", std::move(tensors.weight));
  rewrite.set(border + ".bias", std::move(tensors.bias));
  const int correction = rewrite.add(border, border_op(group, shapes), {input});
  return rewrite.add(rewrite.unused(name + ".sum"), Add{}, {merged, correction});
}

}  // namespace

const std::string& merged_name(const Graph& graph, const Region& group) {
  const auto weighted = std::find_if(group.nodes.begin(), group.nodes.end(),
                                     [&](int i) { return weighted_kernel(graph.nodes[i].op) > 0; });
  return graph.nodes[*weighted].name;
}

Model merge(const Model& model, const std::vector<Region>& groups, Borders borders) {
  const std::vector<Nhwc> shapes = infer_shapes(model.graph);
  return rewrite_groups(model, groups, [&](Rewrite& rewrite, const Region& group) {
    rewrite.stand_for(group.to, add_merged(rewrite, model, group, shapes, borders));
  });
}

Model fold_batch_norm(const Model& model) {
  return merge(model, find_groups(model.graph, batch_norms(model.graph), 1), Borders::exact);
}

}  // namespace pleat
