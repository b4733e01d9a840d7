// The whole accuracy-depth experiment of the paper's first figure: a base, pre-folding, then one depth after another
// downwards, each trained from the one before with the base as its teacher.
//
// At each depth the activations with the largest alphas go. They are not dropped at once: padding is moved to where the
// merged convolutions will have it (Borders::move_padding), and the activations' alphas go linearly to 1 over the first
// part of the training. Then they are dropped (the kept form), what is linear is merged (the merged form), and both are
// proved to compute the same and timed in turn with the base.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "fold/merge_candidates.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

struct CurveOptions {
  std::string network;             ///< The network's name, or the given model's file, for the record.
  bool trained = false;            ///< The model is the base already.
  Recipe base, prefold, finetune;  ///< How to train each part; their data set is the experiment's.
  std::vector<int> depths = {};    ///< Which depths to visit; empty: ten, down to where the paper stops.
  double budget = 0;      ///< Seconds that the experiment may take, by scaling the epochs; 0: as the recipes say.
  double fade = 1.0 / 3;  ///< Part of each depth's epochs in which its activations fade out; 0: they jump.
  bool quiet = false;
  bool tune = true;          ///< Train by the fastest algorithms, timed here; otherwise by the usual ones.
  Stopwatch stopwatch = {};  ///< Times the base, the kept and the merged form of a depth.
};

/// Runs the experiment in the folder `out`, or what is left of it, and returns its curve.json
/// (tools/train/curve_file.hpp). The folder then holds base/ and prefold/ with model.safetensors and log.jsonl;
/// depth-N/ with kept.safetensors, merged.safetensors and log.jsonl; and log.jsonl over all of it. A killed experiment
/// goes on bit for bit where it was. Throws Interrupted as run_training does; std::invalid_argument for depths that the
/// network cannot have and for a budget that is too small; std::runtime_error if `out` holds another experiment or
/// anything else, if a merged network is not the same as the kept one, or if training breaks down.
nlohmann::ordered_json run_curve(const Model& model, const CurveOptions& options, const std::string& out);

}  // namespace pleat
