// Makes merging exact at the borders without training. The zero padding inside a group makes the group compute
// something else near the borders than the merged convolution does; the difference is an op (BorderConv2d) that is
// added to it.
//
// A path leads from an input pixel through one tap of each op of the group to an output pixel. The merged convolution
// sums over all paths. The group sums only over those paths that stay inside the picture at every value in between,
// because a value outside the picture is replaced by a zero. So the group loses some paths near the borders. Which
// paths it loses at an output position depends only on the distances to the borders, and rows and columns can be
// treated separately:
//   group = merged - lost(row) - lost(column) + lost(row and column),
// where lost(...) is the linear map of the paths that leave the picture along all the axes named. If the first op is
// 1x1, a path that leaves the picture begins outside it, where the input is zero, so only biases are lost.
#pragma once

#include <map>
#include <vector>

#include "core/model.hpp"
#include "fold/region.hpp"

namespace pleat {

/// Fills in the region's `ring`, the output positions at which paths are lost, and `reach`, the input positions that
/// lost paths come from. `maps` are the maps from the region's input to each of its values, by node.
void find_border(const Graph& graph, const std::vector<Nhwc>& shapes, const std::map<int, MapShape>& maps,
                 Region& region);

/// The op that corrects a region. `shapes` are those of one picture.
BorderConv2d border_op(const Region& region, const std::vector<Nhwc>& shapes);

/// The parameters of the op that corrects a region.
struct BorderTensors {
  Tensor weight, bias;
};

/// Computes them in double precision and rounds them once. The bias includes that of the merged op, which then has
/// none. `maps` are the maps from the region's input to each of its values, by node.
BorderTensors border_tensors(const Model& model, const Region& region, const std::vector<Nhwc>& shapes,
                             const std::map<int, LinearMap>& maps);

}  // namespace pleat
