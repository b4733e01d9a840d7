// Building a new network from an old one, node by node.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/model.hpp"
#include "fold/groups.hpp"

namespace pleat {

/// Zeros (or, negative, crops) a value needs before and after it along one axis. `after` may be larger by up to `slack`
/// without adding an output position.
struct AxisPadding {
  int before = 0, after = 0, slack = 0;
};

class Rewrite {
 public:
  explicit Rewrite(const Model& from);

  /// The new index of old node `i`; set by copy and stand_for.
  int operator[](int i) const { return index_.at(i); }

  /// Copies old node `i`, reading what its inputs became.
  void copy(int i);

  /// From here on old node `i` means new node `node`.
  void stand_for(int i, int node) { index_.at(i) = node; }

  /// Adds a node that reads new nodes.
  int add(std::string name, Op op, std::vector<int> inputs);

  /// `name`, or with underscores behind where the old or new network has that.
  std::string unused(std::string name) const;

  /// `input` (a new node of `channels` channels), padded and cropped for `reader`: by a Shortcut node, or not at all
  /// where nothing is needed.
  int padded(const std::string& reader, int input, int channels, const AxisPadding& rows, const AxisPadding& columns);

  /// Adds a node that reads `input` padded and cropped: the op itself carries the padding if it can, otherwise a
  /// Shortcut in front of it does.
  int add_padded(std::string name, Op op, int input, int channels, const AxisPadding& rows, const AxisPadding& columns);

  /// Gives parameter `name` of the new network its value; the others keep that of the old one.
  void set(const std::string& name, Tensor value) { fresh_[name] = std::move(value); }

  /// The new network, verified; parameters nobody reads are gone.
  Model finish();

 private:
  const Model& from_;
  Graph graph_;
  Tensors fresh_;
  std::vector<int> index_;  // New by old.
  std::vector<int> pads_;   // Shortcuts of `padded`.
};

/// The network with `replace(rewrite, group)` called for each group in place of its nodes, and the others copied. It
/// must say what stands for the group's last value.
Model rewrite_groups(const Model& model, const std::vector<Region>& groups,
                     const std::function<void(Rewrite&, const Region&)>& replace);

}  // namespace pleat
