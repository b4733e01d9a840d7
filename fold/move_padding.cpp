#include "fold/move_padding.hpp"

#include <algorithm>
#include <iterator>
#include <map>

#include "fold/rewrite.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// The part of the plane on which a value is computed, or read: positions along each axis, both ends included. Position
// 0 is the first position of the value in the network before.
struct Area {
  Offsets rows, columns;
};

// The positions that a value of this shape has in the network before.
Area whole_area(const Nhwc& shape) {
  return {{0, static_cast<int>(shape.h) - 1}, {0, static_cast<int>(shape.w) - 1}};
}

Offsets hull(const Offsets& a, const Offsets& b) {
  return {std::min(a.lo, b.lo), std::max(a.hi, b.hi)};
}

// The input positions along one axis that the given outputs read.
Offsets read_by(const Offsets& outputs, const Offsets& offsets, int stride) {
  return {stride * outputs.lo + offsets.lo, stride * outputs.hi + offsets.hi};
}

// The part of its input that an op reads to compute `output`.
Area read_by(const Area& output, const Op& op, const Nhwc& input) {
  if (std::holds_alternative<Add>(op)) return output;
  const MapShape map = *map_shape(op, input);
  return {read_by(output.rows, map.rows, map.stride), read_by(output.columns, map.columns, map.stride)};
}

// The padding, or with negative numbers the cropping, that makes `needed` out of `stored`.
AxisPadding padding(const Offsets& stored, const Offsets& needed, int stride) {
  return {stored.lo - needed.lo, needed.hi - stored.hi, stride - 1};
}

// Adds the nodes of one group to the new graph, with the padding moved to the group's input.
void move_group_padding(Rewrite& rewrite, const Model& model, const Region& group, const std::vector<Nhwc>& shapes) {
  const Graph& graph = model.graph;
  // From the last node to the first: each value must be computed wherever a later node reads it. Only the group's
  // output and its input keep their sizes.
  std::map<int, Area> areas = {{group.to, whole_area(shapes[group.to])}};
  for (auto i = group.nodes.rbegin(); i != group.nodes.rend(); ++i)
    for (const int input : graph.nodes[*i].inputs) {
      const Area needed = read_by(areas.at(*i), graph.nodes[*i].op, shapes[input]);
      Area& all = areas.emplace(input, needed).first->second;
      all = {hull(all.rows, needed.rows), hull(all.columns, needed.columns)};
    }
  areas[group.from] = whole_area(shapes[group.from]);

  for (const int i : group.nodes) {
    const Node& node = graph.nodes[i];
    const auto axis = [&](int input, Offsets Area::*side) {
      const auto map = map_shape(node.op, shapes[input]);
      return padding(areas.at(input).*side, read_by(areas.at(i), node.op, shapes[input]).*side, map ? map->stride : 1);
    };
    const int first = node.inputs[0], channels = static_cast<int>(shapes[first].c);
    if (std::holds_alternative<Add>(node.op)) {
      std::vector<int> inputs;
      for (const int input : node.inputs)
        inputs.push_back(
            rewrite.padded(node.name, rewrite[input], channels, axis(input, &Area::rows), axis(input, &Area::columns)));
      rewrite.stand_for(i, rewrite.add(node.name, node.op, inputs));
    } else {
      rewrite.stand_for(i, rewrite.add_padded(node.name, node.op, rewrite[first], channels, axis(first, &Area::rows),
                                              axis(first, &Area::columns)));
    }
  }
}

}  // namespace

Model move_padding(const Model& model, const std::vector<Region>& groups) {
  const std::vector<Nhwc> shapes = infer_shapes(model.graph);
  std::vector<Region> changed;
  std::copy_if(groups.begin(), groups.end(), std::back_inserter(changed), [](const Region& g) { return !g.exact(); });
  return rewrite_groups(model, changed, [&](Rewrite& rewrite, const Region& group) {
    move_group_padding(rewrite, model, group, shapes);
  });
}

}  // namespace pleat
