// Accuracy of a network on a whole data set. Calls no BLAS, because pleat-run, which links none, uses it too.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/process_group.hpp"
#include "core/progress.hpp"
#include "data/dataset.hpp"
#include "fold/engine/engine.hpp"

namespace pleat {

struct Score {
  double top1 = 0, top5 = 0;  ///< Fractions. Of equal logits, the one of the lower class counts as the larger.
  double loss = 0;            ///< Mean cross entropy.
  int64_t images = 0;
  std::vector<std::string> broken;  ///< Files that were passed over, with the reasons.
  double images_per_second = 0;     ///< Of computing the logits alone, without reading pictures and scoring.
};

/// Pictures a call where the caller does not say: enough to keep a CPU busy, few enough for photographs.
inline constexpr int64_t kUsualBatch = 50;

/// Computes logits of pictures [batch, H, W, C], of which only the first n matter: [n, classes], or more rows.
using LogitsFunction = std::function<std::span<const float>(std::span<const float> images, int64_t n)>;

/// Logits by the engine, which must outlive the function.
LogitsFunction logits_of(Engine& engine);

/// Scores all pictures of `data`, prepared as the model wants them, in batches of `batch`. Throws std::invalid_argument
/// if the pictures or the classes do not fit the model, std::runtime_error for logits that are not finite and for a
/// picture file that cannot be read; with `skip_broken` only if none can be. Several ranks share the pictures out and
/// all get the whole score, but for `broken`, where each lists its own.
Score evaluate(const Dataset& data, const Model& model, int64_t batch, bool skip_broken, const LogitsFunction& logits,
               Progress& progress, ProcessGroup ranks = {});

/// For people: a line, and one for each broken file. For scripts: top1, top5, loss, images, broken, images_per_second.
void print_score(std::ostream& out, const Score& score);
nlohmann::ordered_json to_json(const Score& score);

}  // namespace pleat
