// Finds the groups of a graph: the regions of linear nodes that can become one op, or are worth it.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"
#include "fold/region.hpp"

namespace pleat {

inline constexpr int kAnyNumber = std::numeric_limits<int>::max();

/// The closed linear region with the input `from` and the output `to`, if there is one, it has a linear map and
/// at most `most_weighted` of its ops have weights. A small number makes the search fast in long chains.
/// `readers` are the consumers of each node, `shapes` those of one picture.
std::optional<Region> closed_region(const Graph& graph, const std::vector<std::vector<int>>& readers,
                                    const std::vector<Nhwc>& shapes, int from, int to, int most_weighted = kAnyNumber);

/// A function that says why a region must not be merged; an empty text accepts it.
using Refusal = std::function<std::string(const Region&)>;

/// Finds disjoint regions of at least two nodes that contain a convolution or linear layer. They are in network order,
/// and each is as long as `refusal` accepts, with at most `most_weighted` ops that have weights.
std::vector<Region> find_groups(const Graph& graph, const Refusal& refusal, int most_weighted = kAnyNumber);

/// Says why node `i`, which is in no group, is not merged with the nodes that read it.
std::string stop_at(const Graph& graph, int i, const Refusal& refusal);

/// Refuses regions whose merged kernel size would exceed `max_kernel`, unless an op of the region has that size
/// already.
Refusal within_kernel(const Graph& graph, int max_kernel);

/// What is done at the borders of a group when it is merged (docs/method.md). On the command line and in files these
/// are called "reorder" and "exact".
enum class Borders {
  move_padding,  ///< The padding moves to the first ops of the group. This changes the network, so it is fine-tuned.
  exact,         ///< A BorderConv2d corrects the borders, so the merged network computes the same as before.
};

/// Refuses the same and also regions that need more MACs when they are merged.
Refusal cheaper(const Graph& graph, int max_kernel, Borders borders);

/// Refuses all regions except those that inference always gains from: a single convolution or linear layer together
/// with the batch norms, skips and poolings next to it, if merging them changes nothing at the borders, does not make
/// the kernel larger and needs no more MACs.
Refusal batch_norms(const Graph& graph);

/// The names of the convolutions and linear layers of a group, in network order.
using OpNames = std::vector<std::string>;

/// Accepts a region if its ops are exactly one of `lists` and `within` accepts it. Regions that have no op in any of
/// the lists are accepted if `batch_norms` accepts them.
Refusal only(const Graph& graph, const std::vector<OpNames>& lists, Refusal within);

/// Refuses what `refusal` refuses and also regions whose merging would change their values at the borders.
Refusal exact(Refusal refusal);

/// The kernel size of an op with weights, which is 1 for linear layers; 0 for ops without weights.
int weighted_kernel(const Op& op);

/// Whether the region begins with a batch norm, which rather belongs to the convolution before the region.
bool starts_with_norm(const Graph& graph, const Region& region);

/// The names of the region's convolutions and linear layers, in network order.
OpNames weighted_ops(const Graph& graph, const Region& region);

/// The kernel sizes of the region's convolutions, and 1 for linear layers, in network order.
std::vector<int> kernels(const Graph& graph, const Region& region);

}  // namespace pleat
