// Folding a model in one call: it drops activations, merges the groups that became linear or prepares them for merging,
// and reports what it did.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/fit_groups.hpp"
#include "fold/groups.hpp"
#include "fold/merge_candidates.hpp"

namespace pleat {

struct FoldOptions {
  /// Which groups to merge.
  enum class Merge {
    all,      ///< Every group becomes one op.
    cheaper,  ///< Only groups whose MACs do not grow, and batch norms always.
    latency,  ///< Only groups whose merging makes the network faster as measured by `stopwatch`, and batch norms
              ///< always.
    none,     ///< None: the groups keep their ops, so that the network can be fine-tuned before it is merged.
  };
  // Which activations to drop. At most one of the three may be given; without any, nothing is dropped.
  std::optional<double> threshold = {};  ///< Drop those whose alpha is at least this.
  std::optional<std::string> mask = {};  ///< '#' keeps, '.' drops (fold/mask.hpp).
  std::optional<int> depth = {};         ///< Drop the largest alphas until the network has this depth.
  Merge merge = Merge::all;
  /// If given, only these groups, and batch norms, are merged (Merge::all) or prepared for merging (Merge::none).
  std::optional<std::vector<OpNames>> groups = {};
  int max_kernel = 7;                   ///< The largest kernel size that merging may produce.
  std::optional<Borders> borders = {};  ///< Default: exact, but move_padding with Merge::none.
  Stopwatch stopwatch = {};             ///< Needed by Merge::latency.
  /// If given, the groups that dropped activations lie within are not composed. Each is replaced by the convolution of
  /// at most `max_kernel` that fits it best on the pictures that this function runs (fold/fit_groups.hpp). The other
  /// groups are merged where that is cheaper, or with Merge::none not at all; then each fitted convolution gets a batch
  /// norm, for training. The result is another function.
  RunNetworks fit = {};
};

/// What became of a foldable activation of the model before.
struct ActivationRow {
  std::string alpha;
  double value = 0;
  bool kept = false;
  int group = -1;    ///< Index of the group that contains it now, or that was fitted with it at its end; -1 if it was
                     ///< kept or if nothing merges across it.
  std::string stop;  ///< If it was dropped: why its group ends where it does, or why nothing merges across it.
};

/// A group, described by the names in the model before.
struct GroupRow {
  std::string op;            ///< The name of the merged op, or with Merge::none the name that it will have.
  std::string from, to;      ///< The nodes that give its input and its output.
  std::vector<int> kernels;  ///< Kernel sizes of its convolutions; 1 for linear layers.
  int kernel = 0;            ///< Kernel size of the merged op.
  int64_t macs_before = 0, macs_after = 0;  ///< `macs_after` includes the border correction.
  /// What happens at its borders.
  enum class Border {
    same,     ///< Merging changes nothing there.
    moved,    ///< The padding was moved, so the result there differs from that of the network before.
    bias,     ///< A border correction with biases only makes it exact.
    kernels,  ///< A border correction with kernels and biases makes it exact.
    fitted,   ///< The whole group, borders included, is replaced by a fitted convolution.
  } border = Border::same;
  std::string stop;  ///< Why the group ends at `to`.
};

/// What a fold did.
struct FoldReport {
  std::string mask;  ///< For the foldable activations of the model before.
  std::vector<ActivationRow> activations;
  std::vector<GroupRow> groups;
  MergeChoice timed = {};              ///< The measurements of Merge::latency.
  std::vector<FittedGroup> fits = {};  ///< What each fit of FoldOptions::fit left unexplained.
};

struct Folded {
  Model model;
  FoldReport report;
};

/// The border's name: "same", "moved", "bias", "kernels", "fitted".
const char* name(GroupRow::Border border);

/// Folds the model. With Borders::exact the result computes exactly what the network without its dropped activations
/// computes. With Borders::move_padding it computes what that network computes after its padding was moved, whether the
/// groups are merged now or later. The options are recorded in the model's notes under "fold.*"; the note "fold.mask"
/// is the mask for the network as it was first trained, even if it has been folded several times. After a fit,
/// "fold.fit" is the number of convolutions that were fitted. Throws
/// std::invalid_argument for options that do not fit the model.
Folded fold(const Model& model, const FoldOptions& options);

}  // namespace pleat
