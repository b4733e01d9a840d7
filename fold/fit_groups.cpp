#include "fold/fit_groups.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "core/check.hpp"
#include "fold/fit.hpp"
#include "fold/mask.hpp"
#include "fold/merge.hpp"
#include "fold/rewrite.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

constexpr double kRidge = 1e-4;

// Whether `node` of the original is an activation that `dropped` does not have.
bool is_dropped(const Node& node, const Graph& dropped) {
  return std::holds_alternative<AlphaAct>(node.op) && find(dropped, node.name) < 0;
}

// What a group should give: the value `wanted` of the original network. If the group's output is one term of a sum that
// a dropped activation follows, `other` is the other term, in the dropped network, and is subtracted; otherwise it is
// -1.
struct Target {
  int wanted, other = -1;
};

// The last of the dropped activations that follow node `node` of the original; -1 if there is none.
int dropped_behind(const Graph& original, const Graph& dropped, int node) {
  const auto readers = consumers(original);
  int last = -1;
  while (readers[node].size() == 1 && is_dropped(original.nodes[readers[node][0]], dropped))
    last = node = readers[node][0];
  return last;
}

Target target_of(const Graph& original, const Graph& dropped, int to) {
  const auto in_original = [&](int node) { return find(original, dropped.nodes[node].name); };
  if (const int last = dropped_behind(original, dropped, in_original(to)); last >= 0) return {last};
  const auto readers = consumers(dropped)[to];
  if (readers.size() == 1 && std::holds_alternative<Add>(dropped.nodes[readers[0]].op)) {
    const std::vector<int>& terms = dropped.nodes[readers[0]].inputs;
    const int last = dropped_behind(original, dropped, in_original(readers[0]));
    if (last >= 0 && terms[0] != terms[1]) return {last, terms[0] == to ? terms[1] : terms[0]};
  }
  return {in_original(to)};
}

// Adds a batch norm behind new node `node` that gives back, in evaluation, what it gets.
int add_norm(Rewrite& rewrite, const std::string& name, int node, const ConvolutionFit::Result& fit) {
  const BatchNorm op;
  const auto parameter = [&](const char* suffix, auto value_of) {
    Tensor tensor({std::ssize(fit.mean)});
    for (std::size_t c = 0; c < fit.mean.size(); ++c) tensor.values[c] = static_cast<float>(value_of(c));
    rewrite.set(name + suffix, std::move(tensor));
  };
  parameter(".weight", [&](std::size_t c) { return std::sqrt(fit.variance[c] + op.eps); });
  parameter(".bias", [&](std::size_t c) { return fit.mean[c]; });
  parameter(".running_mean", [&](std::size_t c) { return fit.mean[c]; });
  parameter(".running_var", [&](std::size_t c) { return fit.variance[c]; });
  return rewrite.add(name, op, {node});
}

// Adds the fitted convolution in the place of the group.
void replace(Rewrite& rewrite, const Graph& dropped, const Region& group, const ConvolutionFit::Result& fit,
             const std::vector<Nhwc>& shapes, FittedNorms norms) {
  const LinearMap& map = fit.map;
  const std::string& name = merged_name(dropped, group);
  const MapShape& s = map.shape;
  rewrite.set(name + ".weight", kernel_tensor(map));
  rewrite.set(name + ".bias", bias_tensor(map));
  const Conv2d op{.out = s.out, .kernel = s.kernel(), .stride = s.stride, .bias = true};
  int last = rewrite.add_window(name, op, rewrite[group.from], s, shapes[group.from], shapes[group.to]);
  if (norms == FittedNorms::added) last = add_norm(rewrite, rewrite.unused(name + ".norm"), last, fit);
  rewrite.stand_for(group.to, last);
}

// Chooses the regions to fit. A value of the dropped network is called lost if a dropped activation read it.
class Chooser {
 public:
  Chooser(const Graph& original, const Graph& dropped, int kernel)
      : original_(original),
        dropped_(dropped),
        readers_(consumers(dropped)),
        shapes_(infer_shapes(dropped)),
        kernel_(kernel) {
    for (const Node& node : original.nodes)
      if (is_dropped(node, dropped)) lost_.insert(remaining_value(original, node.inputs[0], dropped));
  }

  std::vector<Region> choose(const std::vector<Region>& groups) {
    for (const Region& group : groups) {
      if (!lost_within(group).empty())
        take(cheapest_part(group));
      else if (is_followed(group.to))
        take(group);
    }
    // A convolution whose batch norm was merged earlier is no group, having nothing to be merged with.
    for (int node = 0; node < std::ssize(dropped_.nodes); ++node)
      if (is_followed(node) && !inside_chosen(node) && weighted_kernel(dropped_.nodes[node].op) > 0)
        take(closed_region(dropped_, readers_, shapes_, dropped_.nodes[node].inputs[0], node));
    check_all_covered();
    std::ranges::sort(chosen_, {}, &Region::to);
    return std::move(chosen_);
  }

 private:
  // Lost values inside the region; its output is not inside.
  std::set<int> lost_within(const Region& region) const {
    std::set<int> values;
    for (const int node : region.nodes)
      if (node != region.to && lost_.contains(node)) values.insert(node);
    return values;
  }

  // Whether a dropped activation followed the value, directly or after a sum.
  bool is_followed(int node) const { return lost_.contains(node) || target_of(original_, dropped_, node).other >= 0; }

  bool inside_chosen(int node) const {
    return std::ranges::any_of(
        chosen_, [&](const Region& region) { return std::ranges::find(region.nodes, node) != region.nodes.end(); });
  }

  // The part of the group that leaves the network cheapest and has all its lost values inside: a convolution before or
  // behind it may have fewer channels at its other end. Of equals it is the largest, since norms cost nothing.
  std::optional<Region> cheapest_part(const Region& group) const {
    const std::set<int> values = lost_within(group);
    const auto growth = [](const Region& r) { return std::pair(r.macs_after - r.macs_before, -std::ssize(r.nodes)); };
    std::optional<Region> best;
    std::vector<int> starts = group.nodes;
    starts.insert(starts.begin(), group.from);
    for (const int from : starts)
      for (const int to : group.nodes) {
        if (to <= from) continue;
        std::optional<Region> part = closed_region(dropped_, readers_, shapes_, from, to);
        if (!part || !can_fit(*part) || lost_within(*part) != values) continue;
        part->stop = group.stop;
        part = cut(*std::move(part));
        if (!best || growth(*part) < growth(*best)) best = std::move(part);
      }
    return best;
  }

  // Whether a convolution of one group can stand for the region.
  static bool can_fit(const Region& region) { return !region.pooled && region.map.groups == 1; }

  // The region as one fitted convolution.
  Region cut(Region region) const {
    region.map = middle(region.map, kernel_);
    const int64_t side = region.map.kernel();
    const Nhwc& y = shapes_[region.to];
    region.macs_after = y.h * y.w * y.c * side * side * region.map.in;
    region.macs_border = 0;
    region.ring = region.reach = {};
    return region;
  }

  void take(const std::optional<Region>& region) {
    if (region && can_fit(*region)) chosen_.push_back(cut(*region));
  }

  void check_all_covered() const {
    for (const Node& node : original_.nodes) {
      if (!is_dropped(node, dropped_)) continue;
      const int value = remaining_value(original_, node.inputs[0], dropped_);
      const std::vector<int>& terms = dropped_.nodes[value].inputs;
      const bool is_sum = std::holds_alternative<Add>(dropped_.nodes[value].op);
      PLEAT_CHECK(
          inside_chosen(value) || (is_sum && std::ranges::any_of(terms, [&](int term) { return inside_chosen(term); })),
          "fold: no convolution can be fitted in the place of activation '", node.name,
          "' and the layers around it\nhint: keep it; layers of several groups of channels and global pooling "
          "are not fitted");
    }
  }

  const Graph& original_;
  const Graph& dropped_;
  const std::vector<std::vector<int>> readers_;
  const std::vector<Nhwc> shapes_;
  const int kernel_;
  std::set<int> lost_;
  std::vector<Region> chosen_;
};

}  // namespace

std::vector<Region> groups_to_fit(const Model& original, const Model& dropped, const std::vector<Region>& groups,
                                  int kernel) {
  return Chooser(original.graph, dropped.graph, kernel).choose(groups);
}

Model fit_groups(const Model& original, const Model& dropped, const std::vector<Region>& groups, const RunNetworks& run,
                 FittedNorms norms, std::vector<FittedGroup>& report) {
  const std::vector<Nhwc> shapes = infer_shapes(dropped.graph);
  std::vector<ConvolutionFit::Result> fits;
  std::vector<Region> done;
  Model so_far = dropped;
  // The part of the network folded so far that gives the value of a node of `dropped`. (A fitted convolution gives the
  // same as the norm behind it.)
  const auto up_to = [&](int node) {
    const auto ends_here = std::ranges::find(done, node, &Region::to);
    const std::string& name =
        ends_here == done.end() ? dropped.graph.nodes[node].name : merged_name(dropped.graph, *ends_here);
    return cut_after(so_far, find(so_far.graph, name));
  };
  for (const Region& group : groups) {
    const std::string& name = merged_name(dropped.graph, group);
    const Target target = target_of(original.graph, dropped.graph, group.to);
    ConvolutionFit fit(group.map, shapes[group.from], shapes[group.to]);
    std::vector<Model> networks = {up_to(group.from), cut_after(original, target.wanted)};
    if (target.other >= 0) networks.push_back(up_to(target.other));
    std::vector<float> wanted;
    run(concat("fit ", done.size() + 1, '/', groups.size()), networks,
        [&](std::span<const std::span<const float>> outputs, int64_t pictures) {
          wanted.assign(outputs[1].begin(), outputs[1].end());
          if (target.other >= 0)
            for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] -= outputs[2][i];
          fit.add(outputs[0], wanted, pictures);
        });
    try {
      fits.push_back(fit.solve(kRidge));
      report.push_back({name, fits.back().unexplained});
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(
          concat("conv2d '", name, "', in place of ", group.nodes.size(), " nodes: ", error.what()));
    }
    done.push_back(group);
    so_far = rewrite_groups(dropped, done, [&](Rewrite& rewrite, const Region& region) {
      const auto place = std::ranges::find(done, region.to, &Region::to);
      replace(rewrite, dropped.graph, region, fits[place - done.begin()], shapes, norms);
    });
  }
  return so_far;
}

}  // namespace pleat
