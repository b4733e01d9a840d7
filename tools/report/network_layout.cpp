#include "tools/report/network_layout.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "fold/mask.hpp"

namespace pleat {
namespace {

constexpr double kGap = 9, kLongestLine = 1010;

std::string square(const std::string& before, int side) {
  return concat(before, side, "×", side);
}

int group_of(const FoldedNetwork& network, const std::string& name) {
  for (std::size_t g = 0; g < network.groups.size(); ++g)
    if (network.groups[g].nodes.contains(name)) return static_cast<int>(g);
  return -1;
}

// Whether a line may end before the op in place `k`: one value goes on, which the op before it gives, and no group
// does.
bool may_break(const NetworkLayout& layout, int k) {
  int crossing = 0;
  for (int v = k; v < std::ssize(layout.ops); ++v)
    for (const int u : layout.ops[v].sources) {
      if (u < k - 1) return false;
      crossing += u == k - 1;
    }
  return crossing == 1 && std::ranges::none_of(layout.groups, [&](const NetworkLayout::Group& group) {
           return group.first < k && k <= group.last;
         });
}

void place_in_lines(NetworkLayout& layout) {
  const int n = static_cast<int>(std::ssize(layout.ops));
  std::vector<bool> breakable(n);
  for (int k = 1; k < n; ++k) breakable[k] = may_break(layout, k);
  double x = 0;
  for (int i = 0; i < n; ++i) {
    // An op that may begin a line does so if what follows, up to the next such op, is too long for this one.
    double end = x;
    for (int j = i; j < n && (j == i || !breakable[j]); ++j) end += layout.ops[j].glyph.width + kGap;
    if (breakable[i] && end > kLongestLine && x > 0) {
      ++layout.lines;
      x = 0;
    }
    PlacedOp& op = layout.ops[i];
    op.line = layout.lines;
    op.x = x + kGap + op.glyph.width / 2;
    x += op.glyph.width + kGap;
    layout.width = std::max(layout.width, x + kGap);
  }
  ++layout.lines;
}

void find_group_extents(NetworkLayout& layout, const FoldedNetwork& network, const std::vector<int>& place_of) {
  for (std::size_t g = 0; g < network.groups.size(); ++g) {
    const auto inside = [&](const PlacedOp& op) { return op.group == static_cast<int>(g); };
    const auto first = std::ranges::find_if(layout.ops, inside);
    const auto last = std::find_if(layout.ops.rbegin(), layout.ops.rend(), inside).base() - 1;
    layout.groups.push_back({static_cast<int>(first - layout.ops.begin()), static_cast<int>(last - layout.ops.begin()),
                             place_of[find(network.before, network.groups[g].from)]});
  }
}

}  // namespace

Glyph glyph_of(const Op& op) {
  using enum Glyph::Shape;
  return visit_op(Overloaded{
                      [](const Input&) {
                        return Glyph{box, "in", 24};
                      },
                      [](const Conv2d& conv) {
                        return Glyph{box, square("", conv.kernel), 32};
                      },
                      [](const DepthwiseConv2d& conv) {
                        return Glyph{box, square("dw ", conv.kernel), 44};
                      },
                      [](const Linear&) {
                        return Glyph{box, "fc", 24};
                      },
                      [](const AlphaAct&) {
                        return Glyph{activation, "", 13};
                      },
                      [](const Add&) {
                        return Glyph{sum, "+", 15};
                      },
                      [](const BatchNorm&) { return Glyph{none}; },
                      [](const Flatten&) { return Glyph{none}; },
                      [](const Shortcut&) { return Glyph{none}; },
                      [](const MaxPool2d&) {
                        return Glyph{box, "max", 32};
                      },
                      [](const AvgPool2d&) {
                        return Glyph{box, "avg", 32};
                      },
                      [](const GlobalAvgPool&) {
                        return Glyph{box, "pool", 34};
                      },
                      [](const auto& other) {  // under its own name
                        const std::string kind = other.kind;
                        return Glyph{box, kind, 12 + 6.5 * static_cast<double>(kind.size())};
                      },
                  },
                  op);
}

NetworkLayout lay_out(const FoldedNetwork& network) {
  NetworkLayout layout;
  const std::vector<Node>& nodes = network.before.nodes;
  std::vector<int> place_of;  // of the op that a node's value is drawn as
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    const Glyph glyph = glyph_of(node.op);
    if (glyph.shape == Glyph::Shape::none) {
      place_of.push_back(place_of[node.inputs[0]]);
      continue;
    }
    place_of.push_back(static_cast<int>(layout.ops.size()));
    PlacedOp op{.node = static_cast<int>(i), .glyph = glyph, .sources = {}, .group = group_of(network, node.name)};
    op.dropped = network.dropped.contains(alpha_of(node));
    for (const int input : node.inputs) op.sources.push_back(place_of[input]);
    layout.ops.push_back(std::move(op));
  }
  find_group_extents(layout, network, place_of);
  place_in_lines(layout);
  return layout;
}

}  // namespace pleat
