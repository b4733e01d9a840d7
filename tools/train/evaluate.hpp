// Accuracy of a network on a whole data set. Free of BLAS: pleat-run scores with it too.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/progress.hpp"
#include "data/dataset.hpp"
#include "fold/engine/engine.hpp"

namespace pleat {

struct Score {
  double top1 = 0, top5 = 0;  ///< Fractions; among equal logits the lower class counts as ahead.
  double loss = 0;            ///< Mean cross entropy.
  int64_t images = 0;
  std::vector<std::string> broken;  ///< Files passed over, with the reasons.
  double images_per_second = 0;     ///< Of `logits` alone, without reading and scoring.
};

/// Logits [n, classes] (or more rows) of the first n of the pictures [batch, H, W, C]; those behind are of no matter.
using LogitsFunction = std::function<std::span<const float>(std::span<const float> images, int64_t n)>;

/// The engine's; it must outlive the function.
LogitsFunction logits_of(Engine& engine);

/// Runs the whole of `data`, as the model wants its pictures, in batches. Throws std::invalid_argument if the pictures
/// or the classes do not fit the model, std::runtime_error for a file that cannot be read (with skip_broken: if none
/// can) and for logits that are not finite.
Score evaluate(const Dataset& data, const Model& model, int64_t batch, bool skip_broken, const LogitsFunction& logits,
               Progress& progress);

/// A line, and one for each broken file, for people; top1, top5, loss, images, broken, images_per_second for scripts.
void print_score(std::ostream& out, const Score& score);
nlohmann::ordered_json to_json(const Score& score);

}  // namespace pleat
