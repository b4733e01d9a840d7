// Builds a new network from an old one, node by node. All passes of folding that change a graph use this class.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// How many zeros to add before and after a value along one axis; a negative number crops instead. `after` may be
/// larger by up to `slack` without adding an output position, because of the stride.
struct AxisPadding {
  int before = 0, after = 0, slack = 0;
};

class Rewrite {
 public:
  explicit Rewrite(const Model& from);

  /// The index in the new graph of the node that took the place of old node `i`, as set by copy and stand_for.
  int operator[](int i) const { return index_.at(i); }

  /// Copies old node `i`. The copy reads the nodes that took the place of its inputs.
  void copy(int i);

  /// Says that new node `node` takes the place of old node `i`.
  void stand_for(int i, int node) { index_.at(i) = node; }

  /// Adds a node to the new graph; `inputs` are indices in the new graph.
  int add(std::string name, Op op, std::vector<int> inputs);

  /// `name`, followed by as many underscores as make it different from all names in the old and the new graph.
  std::string unused(std::string name) const;

  /// Pads and crops the value of new node `input`, which has `channels` channels, for the node called `reader`. Returns
  /// the Shortcut node that does so, or `input` itself if there is nothing to do.
  int padded(const std::string& reader, int input, int channels, const AxisPadding& rows, const AxisPadding& columns);

  /// Adds a node that reads `input` padded and cropped. The op itself gets the padding if it can have it; otherwise a
  /// Shortcut in front of it does.
  int add_padded(std::string name, Op op, int input, int channels, const AxisPadding& rows, const AxisPadding& columns);

  /// Adds an op of square kernel that gives `map` (its lowest offset is the kernel's first tap) of an input of shape
  /// `x`, so padded that its output has the shape `y`.
  int add_window(std::string name, Op op, int input, const MapShape& map, const Nhwc& x, const Nhwc& y);

  /// Gives parameter `name` of the new network its value; the others keep that of the old one.
  void set(const std::string& name, Tensor value) { fresh_[name] = std::move(value); }

  /// Returns the new network after verifying it. Parameters that no node reads any more are left out.
  Model finish();

 private:
  const Model& from_;
  Graph graph_;
  Tensors fresh_;
  std::vector<int> index_;  // by old node: the new node that took its place, or -1
  std::vector<int> pads_;   // the Shortcut nodes that `padded` added
};

/// Copies the network, but calls `replace(rewrite, group)` for each group in place of copying its nodes. `replace` must
/// say which new node takes the place of the group's output (Rewrite::stand_for).
Model rewrite_groups(const Model& model, const std::vector<Region>& groups,
                     const std::function<void(Rewrite&, const Region&)>& replace);

/// The part of the network that computes node `last`, which becomes its output.
Model cut_after(const Model& model, int last);

}  // namespace pleat
