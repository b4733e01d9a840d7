// Exact borders without training: what the zero padding inside a group changes, as an op to be added to the merged one.
//
// A path is one input pixel's way through the group, one tap of each op on it. The merged op follows all paths; the
// group only those that never leave the picture of a value on their way, for outside are zeros. What is lost at an
// output position depends on its distance to the border, for rows and columns apart:
//   group = merged - lost(row) - lost(column) + lost(row and column)
// with lost(...) the map made of the paths that leave the picture along the axes named. Where the first op is 1x1 a
// path that leaves comes from outside, from zeros: bias alone is lost.
#pragma once

#include <map>
#include <vector>

#include "core/model.hpp"
#include "fold/region.hpp"

namespace pleat {

/// Fills `ring` (output positions where something is lost) and `reach` (inputs from where), given the map to each of
/// the region's values.
void find_border(const Graph& graph, const std::vector<Nhwc>& shapes, const std::map<int, MapShape>& maps,
                 Region& region);

/// The correction for a region, for `shapes` of one picture.
BorderConv2d border_op(const Region& region, const std::vector<Nhwc>& shapes);

/// Its parameters, in double and rounded once. They hold the merged op's bias. `maps` as above, with their numbers.
struct BorderTensors {
  Tensor weight, bias;
};
BorderTensors border_tensors(const Model& model, const Region& region, const std::vector<Nhwc>& shapes,
                             const std::map<int, LinearMap>& maps);

}  // namespace pleat
