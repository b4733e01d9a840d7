// Where the ops of a network stand in its picture: from left to right in the graph's order, in as many lines as it
// takes.
#pragma once

#include <string>
#include <vector>

#include "tools/report/merged_groups.hpp"

namespace pleat {

/// How an op is drawn.
struct Glyph {
  enum class Shape { box, activation, sum, none } shape = Shape::box;
  std::string label = {};
  double width = 0;
};
Glyph glyph_of(const Op& op);

/// A drawn op, a glyph of the network before folding.
struct PlacedOp {
  int node = 0;  ///< In FoldedNetwork::before.
  Glyph glyph;
  int line = 0;
  double x = 0;              ///< Of its middle.
  std::vector<int> sources;  ///< The drawn ops whose values it reads, by their places in NetworkLayout::ops.
  int group = -1;            ///< Of FoldedNetwork::groups, if it became part of another op.
  bool dropped = false;      ///< An activation that is gone.
};

struct NetworkLayout {
  std::vector<PlacedOp> ops;  ///< In network order.
  int lines = 0;
  double width = 0;  ///< Of the longest line.
  struct Group {
    int first = 0, last = 0;  ///< The places of its first and its last drawn op.
    int source = 0;           ///< The place of the op that gives its input.
  };
  std::vector<Group> groups;  ///< As FoldedNetwork::groups.
};

/// Lines end where only one value goes on, and never inside a group.
NetworkLayout lay_out(const FoldedNetwork& network);

}  // namespace pleat
