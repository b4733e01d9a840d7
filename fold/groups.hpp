// Which runs of linear nodes can become one op.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"
#include "fold/region.hpp"

namespace pleat {

/// The closed linear region from one node to a later one, if there is one with a map.
std::optional<Region> closed_region(const Graph& graph, const std::vector<std::vector<int>>& readers,
                                    const std::vector<Nhwc>& shapes, int from, int to);

/// Reason to refuse a region; empty: take it.
using Refusal = std::function<std::string(const Region&)>;

/// Disjoint regions of two or more nodes with a convolution or linear layer among them: in network order, each as long
/// as it can be without `refusal`.
std::vector<Region> find_groups(const Graph& graph, const Refusal& refusal);

/// Why node `i`, which is in no group, is not merged with what follows it.
std::string stop_at(const Graph& graph, int i, const Refusal& refusal);

/// Refuses kernels above `max_kernel`, unless an op of the region has that kernel already.
Refusal within_kernel(const Graph& graph, int max_kernel);

/// How the borders of a group are kept right when it is merged.
enum class Borders {
  reorder,  ///< Its padding is moved to its first op, for which a network is fine-tuned: the merged op is all.
  exact,    ///< The merged network equals the one before, without training: at the borders by a BorderConv2d.
};

/// Refuses, besides, regions whose merging costs more multiply-accumulates than they do.
Refusal cheaper(const Graph& graph, int max_kernel, Borders borders);

/// Refuses all but batch norms, and skips and poolings that cost no larger kernel, with the one convolution or linear
/// layer next to them, where merging changes nothing at the borders: what inference always gains from.
Refusal batch_norms(const Graph& graph);

/// Convolutions and linear layers of a group, by name, in network order.
using OpNames = std::vector<std::string>;

/// Refuses, besides `within`, all regions but those with exactly one of these lists of ops, and batch_norms elsewhere.
Refusal only(const Graph& graph, const std::vector<OpNames>& lists, Refusal within);

/// Refuses, besides `refusal`, regions whose merging would change what they give at the borders.
Refusal exact(Refusal refusal);

/// Kernel of an op with weights (linear layers: 1); 0 for the others.
int weighted_kernel(const Op& op);

/// A batch norm stands in front, which belongs to the convolution before the region.
bool starts_with_norm(const Graph& graph, const Region& region);

/// Names of the region's convolutions and linear layers.
OpNames weighted_ops(const Graph& graph, const Region& region);

/// Sides of the kernels of the region's convolutions (linear layers: 1), in order.
std::vector<int> kernels(const Graph& graph, const Region& region);

}  // namespace pleat
