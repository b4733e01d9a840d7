// The whole fold: activations dropped, groups merged or made ready for merging, and a table of what was done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/merge_candidates.hpp"
#include "fold/groups.hpp"

namespace pleat {

struct FoldOptions {
  enum class Merge {
    all,      ///< Every group becomes one op.
    cheaper,  ///< Only where multiply-accumulates do not grow; batch norms always.
    latency,  ///< Only where `stopwatch` says that the network gets faster; batch norms always.
    none,     ///< Groups keep their ops, for fine-tuning; as `borders` says, merging later is exact.
  };
  // Which activations to drop: at most one of these; none of them drops nothing.
  std::optional<double> threshold = {};  ///< Alphas >= this.
  std::optional<std::string> mask = {};  ///< '#' keeps, '.' drops; fold/mask.hpp.
  std::optional<int> depth = {};         ///< The largest alphas until the network is this deep.
  Merge merge = Merge::all;
  /// Merges (Merge::all) or prepares (Merge::none) these groups alone, and batch norms.
  std::optional<std::vector<OpNames>> groups = {};
  int max_kernel = 7;
  std::optional<Borders> borders = {};  ///< Not given: exact, but reorder with Merge::none.
  Stopwatch stopwatch = {};             ///< For Merge::latency.
};

/// A foldable activation of the model before.
struct ActivationRow {
  std::string alpha;
  double value = 0;
  bool kept = false;
  int group = -1;    ///< Index of the group that holds it now; -1 if kept, or if nothing merges across it.
  std::string stop;  ///< If dropped: why its group ends where it ends, or why nothing merges across it.
};

/// A run of linear nodes, by the names in the model before.
struct GroupRow {
  std::string op;                           ///< The merged op (with Merge::none: what it will be called).
  std::string from, to;                     ///< The value it reads and the one it gives.
  std::vector<int> kernels;                 ///< Of its convolutions; linear layers count as 1.
  int kernel = 0;                           ///< Of the merged op.
  int64_t macs_before = 0, macs_after = 0;  ///< After: borders included.
  /// What became of its borders.
  enum class Border {
    same,     ///< Nothing: merging changes nothing there.
    moved,    ///< Padding moved: the network differs there from the dropped one.
    bias,     ///< Exact, by another bias.
    kernels,  ///< Exact, by kernels of their own.
  } border = Border::same;
  std::string stop;  ///< Why it ends at `to`.
};

struct FoldPlan {
  std::string mask;  ///< Of this model's foldable activations.
  std::vector<ActivationRow> activations;
  std::vector<GroupRow> groups;
  MergeChoice timed = {};  ///< What Merge::latency measured.
};

struct Folded {
  Model model;
  FoldPlan plan;
};

/// The border's name: "same", "moved", "bias", "kernels".
const char* name(GroupRow::Border border);

/// Folds. With Borders::exact the result equals, everywhere, the network without its dropped activations; with
/// Borders::reorder it does so where their padding is moved, whether merged (Merge::all, Merge::cheaper) or not. Notes
/// the options under "fold.*"; "fold.mask" stands for the network as first trained, however often it was folded. Throws
/// std::invalid_argument for options that do not fit the model.
Folded fold(const Model& model, const FoldOptions& options);

}  // namespace pleat
