#include "fold/groups.hpp"

#include <algorithm>
#include <map>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "fold/border_correction.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

bool is_add(const Op& op) {
  return std::holds_alternative<Add>(op);
}
bool is_pool(const Op& op) {
  return std::holds_alternative<GlobalAvgPool>(op);
}

// These ops cost nothing, and nothing is gained by merging only one of them.
bool is_free(const Op& op) {
  return traits(op).one_pixel && !traits(op).weighted;
}

// Whether an op with these offsets reads outside its input.
bool reads_outside(const Offsets& offsets, int stride, int64_t outputs, int64_t inputs) {
  return offsets.lo < 0 || stride * (outputs - 1) + offsets.hi >= inputs;
}

// The nodes of the region, found by walking back from `to`; empty if a node is not linear, the
// region is not closed, or more than `most_weighted` of its ops have weights.
std::vector<int> collect(const Graph& graph, const std::vector<std::vector<int>>& readers,
                         const std::vector<Nhwc>& shapes, int from, int to, int most_weighted) {
  std::vector<bool> inside(to - from + 1);
  std::vector<int> nodes, left = {to};
  inside[to - from] = true;
  while (!left.empty()) {
    const int i = left.back();
    const Node& node = graph.nodes[i];
    left.pop_back();
    nodes.push_back(i);
    if (weighted_kernel(node.op) > 0 && --most_weighted < 0) return {};
    if (node.inputs.empty() || !(is_add(node.op) || map_shape(node.op, shapes[node.inputs[0]]))) return {};
    for (const int input : node.inputs) {
      if (input == from) continue;
      if (input < from) return {};
      if (!inside[input - from]) left.push_back(input);
      inside[input - from] = true;
    }
  }
  for (const int i : nodes)
    for (const int reader : readers[i])
      if (i != to && (reader > to || !inside[reader - from])) return {};
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

// Fills in `map`, `pooled`, `ring` and `reach`. Returns false if the region has no map, because its paths have
// different strides, because it pools globally and the rest of it is not pointwise, or because padding is read around a
// value that global pooling, flattening or a linear layer made one pixel.
bool find_map(const Graph& graph, const std::vector<Nhwc>& shapes, Region& region) {
  std::map<int, MapShape> maps = {{region.from, identity_shape(static_cast<int>(shapes[region.from].c))}};
  bool same_size = true, one_pixel = false;
  for (const int i : region.nodes) {
    const Node& node = graph.nodes[i];
    const Nhwc &x = shapes[node.inputs[0]], &y = shapes[i];
    const MapShape& a = maps.at(node.inputs[0]);
    if (is_add(node.op)) {
      const MapShape& b = maps.at(node.inputs[1]);
      if (a.stride != b.stride) return false;
      maps[i] = add(a, b);
    } else {
      const MapShape own = *map_shape(node.op, x);
      const bool past_border = node.inputs[0] != region.from && (reads_outside(own.rows, own.stride, y.h, x.h) ||
                                                                 reads_outside(own.columns, own.stride, y.w, x.w));
      if (past_border && one_pixel) return false;
      one_pixel = one_pixel || traits(node.op).one_pixel;
      maps[i] = compose(own, a);
      const bool pools = is_pool(node.op) && (x.h != 1 || x.w != 1);
      region.pooled = region.pooled || pools;
      same_size = same_size && (pools || (x.h == y.h && x.w == y.w));
    }
  }
  region.map = maps.at(region.to);
  find_border(graph, shapes, maps, region);
  return !region.pooled || (region.map.pointwise() && same_size && region.exact());
}

// If node `i` is a border correction (fold/border_correction.hpp) or adds one, returns the correction, otherwise -1.
// The value of such a node is computed differently along the borders, so it is no linear map and cannot be merged.
int correction_in(const Graph& graph, int i) {
  const auto corrects = [&](int node) { return std::holds_alternative<BorderConv2d>(graph.nodes[node].op); };
  if (corrects(i)) return i;
  const std::vector<int>& inputs = graph.nodes[i].inputs;
  const auto found = std::find_if(inputs.begin(), inputs.end(), corrects);
  return found == inputs.end() ? -1 : *found;
}

std::string corrected_before(const Graph& graph, int correction) {
  return concat(graph.nodes[correction].name, " corrects the borders of an earlier merge");
}

// Why the region that ends before `readers` cannot be longer.
std::string obstacle(const Graph& graph, const std::vector<int>& readers) {
  if (readers.empty()) return "output";
  for (const int reader : readers)
    if (const int correction = correction_in(graph, reader); correction >= 0)
      return corrected_before(graph, correction);
  if (readers.size() > 1)
    return concat("read by both ", graph.nodes[readers[0]].name, " and ", graph.nodes[readers[1]].name);
  const Node& next = graph.nodes[readers[0]];
  return visit_op(Overloaded{
                      [&](const AlphaAct&) { return concat("activation ", next.name); },
                      [&](const MaxPool2d&) { return concat("max pooling ", next.name); },
                      [&](const Add&) { return concat(next.name, " adds another value"); },
                      [&](const GlobalAvgPool&) { return concat("global pooling ", next.name); },
                      [&](const auto&) { return concat(kind(next.op), ' ', next.name); },
                  },
                  next.op);
}

// Whether the op is a skip that only pads or crops. At the end of a region such a skip belongs to the next region,
// whose input it pads: probably that region's padding was moved.
bool only_pads(const Op& op, const Nhwc& x) {
  if (!std::holds_alternative<Shortcut>(op)) return false;
  const Shortcut& shortcut = std::get<Shortcut>(op);
  return shortcut.stride == 1 && shortcut.out == x.c;
}

bool worth_merging(const Graph& graph, const std::vector<Nhwc>& shapes, const Region& region) {
  const Node& last = graph.nodes[region.to];
  if (only_pads(last.op, shapes[last.inputs[0]])) return false;
  int weighted = 0, ops = 0;
  for (const int i : region.nodes) {
    weighted += weighted_kernel(graph.nodes[i].op) > 0;
    ops += !is_free(graph.nodes[i].op);
  }
  return weighted >= 1 && ops >= 2;
}

}  // namespace

std::optional<Region> closed_region(const Graph& graph, const std::vector<std::vector<int>>& readers,
                                    const std::vector<Nhwc>& shapes, int from, int to, int most_weighted) {
  Region region{.from = from, .to = to, .nodes = collect(graph, readers, shapes, from, to, most_weighted), .stop = {}};
  if (region.nodes.empty() || !find_map(graph, shapes, region)) return std::nullopt;
  for (const int i : region.nodes) region.macs_before += macs(graph, i, shapes);
  const int64_t kernel = region.map.kernel();
  region.macs_after = shapes[to].h * shapes[to].w * shapes[to].c * kernel * kernel * region.map.inputs();
  const BorderConv2d border = border_op(region, shapes);
  region.macs_border = BorderGeometry(shapes[from], border).macs(border);
  return region;
}

std::vector<Region> find_groups(const Graph& graph, const Refusal& refusal, int most_weighted) {
  const auto readers = consumers(graph);
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  std::vector<bool> taken(graph.nodes.size()), inner(graph.nodes.size());
  std::vector<Region> groups;
  // The longest region with the input `from` that `refusal` accepts, with its `stop` filled in.
  const auto longest = [&](int from) {
    std::optional<Region> best;
    std::string refused;
    for (int to = from + 1; to <= graph.output(); ++to) {
      auto region = closed_region(graph, readers, shapes, from, to, most_weighted);
      if (!region || !worth_merging(graph, shapes, *region)) continue;
      if (std::any_of(region->nodes.begin(), region->nodes.end(), [&](int i) { return taken[i]; })) continue;
      const std::string reason = refusal(*region);
      if (reason.empty()) {
        best = std::move(region);
        refused.clear();
      } else if (refused.empty()) {
        refused = reason;
      }
    }
    if (best) best->stop = refused.empty() ? obstacle(graph, readers[best->to]) : refused;
    return best;
  };
  for (int from = 0; from < graph.output(); ++from) {
    if (inner[from]) continue;
    while (auto region = longest(from)) {  // there are several if `from` has several readers
      for (const int i : region->nodes) taken[i] = inner[i] = true;
      inner[region->to] = false;
      groups.push_back(std::move(*region));
    }
  }
  return groups;
}

std::string stop_at(const Graph& graph, int i, const Refusal& refusal) {
  if (const int correction = correction_in(graph, i); correction >= 0) return corrected_before(graph, correction);
  const Node& node = graph.nodes[i];
  if (is_add(node.op)) return concat(node.name, " adds two values");
  const auto readers = consumers(graph);
  if (readers[i].size() == 1 && node.inputs.size() == 1)
    if (const auto region = closed_region(graph, readers, infer_shapes(graph), node.inputs[0], readers[i][0]))
      if (std::string reason = refusal(*region); !reason.empty()) return reason;
  return obstacle(graph, readers[i]);
}

int weighted_kernel(const Op& op) {
  return visit_op(Overloaded{
                      [](const IsConvolution auto& convolution) { return convolution.kernel; },
                      [](const Linear&) { return 1; },
                      [](const Unweighted auto&) { return 0; },
                  },
                  op);
}

bool starts_with_norm(const Graph& graph, const Region& region) {
  return std::holds_alternative<BatchNorm>(graph.nodes[region.nodes[0]].op);
}

OpNames weighted_ops(const Graph& graph, const Region& region) {
  OpNames names;
  for (const int i : region.nodes)
    if (weighted_kernel(graph.nodes[i].op) > 0) names.push_back(graph.nodes[i].name);
  return names;
}

std::vector<int> kernels(const Graph& graph, const Region& region) {
  std::vector<int> sides;
  for (const int i : region.nodes)
    if (const int side = weighted_kernel(graph.nodes[i].op)) sides.push_back(side);
  return sides;
}

Refusal within_kernel(const Graph& graph, int max_kernel) {
  PLEAT_CHECK(max_kernel >= 1, "fold: the maximum kernel size is ", max_kernel, ", expected at least 1");
  return [&graph, max_kernel](const Region& region) {
    const int kernel = region.map.kernel();
    const std::vector<int> sides = kernels(graph, region);
    // A pooling of one pixel may stand alone, without an op that has weights.
    const int largest = sides.empty() ? 0 : *std::max_element(sides.begin(), sides.end());
    if (kernel <= std::max(max_kernel, largest)) return std::string();
    return concat("its kernel size would be ", kernel, ", above the maximum of ", max_kernel);
  };
}

Refusal cheaper(const Graph& graph, int max_kernel, Borders borders) {
  return [within = within_kernel(graph, max_kernel), borders](const Region& region) {
    std::string reason = within(region);
    const int64_t after = region.macs_after + (borders == Borders::exact ? region.macs_border : 0);
    if (reason.empty() && after > region.macs_before)
      reason = concat("MACs would grow from ", region.macs_before, " to ", after);
    return reason;
  };
}

Refusal batch_norms(const Graph& graph) {
  return [&graph](const Region& region) {
    const std::vector<int> sides = kernels(graph, region);
    const bool fits = sides.size() == 1 && region.exact() && region.map.kernel() == sides[0] &&
                      region.macs_after <= region.macs_before;
    return std::string(fits ? "" : "contains more than a batch norm");
  };
}

Refusal only(const Graph& graph, const std::vector<OpNames>& lists, Refusal within) {
  return [&graph, lists, within = std::move(within), norms = batch_norms(graph)](const Region& region) {
    const OpNames ops = weighted_ops(graph, region);
    const auto shares = [&](const OpNames& list) {
      return std::find_first_of(list.begin(), list.end(), ops.begin(), ops.end()) != list.end();
    };
    if (std::none_of(lists.begin(), lists.end(), shares)) return norms(region);
    const bool listed = std::find(lists.begin(), lists.end(), ops) != lists.end() && !starts_with_norm(graph, region);
    return listed ? within(region) : std::string("is not to be merged further");
  };
}

Refusal exact(Refusal refusal) {
  return [refusal = std::move(refusal)](const Region& region) {
    return region.exact() ? refusal(region)
                          : std::string("merging further would change the borders, because its padding was not moved");
  };
}

}  // namespace pleat
