// Two models run on the same pictures, and their outputs compared number by number: what `pleat verify` prints, and how
// a merged network is proved to be the one it was merged from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/model.hpp"
#include "core/progress.hpp"
#include "data/dataset.hpp"
#include "fold/engine/engine.hpp"
#include "fold/proof.hpp"
#include "ops/exec/exec.hpp"

namespace pleat {

class Comparison {
 public:
  /// Batches of `batch` pictures, by the training kernels `kernels` in f32; B by the inference engine if `engine` is
  /// given, of which only the logits can be compared. Throws std::invalid_argument if the models take different
  /// pictures or have different numbers of outputs. Both must outlive this.
  Comparison(const Model& a, const Model& b, int64_t batch, Kernels kernels,
             const std::optional<EngineOptions>& engine = {});

  /// Compares the logits, and where both have the same the last spatial values, of the first n of [batch, H, W, C].
  void add(std::span<const float> images, int64_t n);

  /// Compares all pictures of `data`. Throws std::invalid_argument unless both models want their pictures prepared in
  /// the same way.
  void add(const Dataset& data, Progress& progress);

  const Proof& proof() const { return proof_; }
  bool compares_maps() const { return a_.map >= 0 && b_.map >= 0; }

 private:
  // One of the two, ready to run.
  struct Side {
    Side(const Model& model, int64_t batch, Kernels kernels, const std::optional<EngineOptions>& options);
    std::span<const float> run(std::span<const float> images);

    const Model& model;
    std::vector<Nhwc> shapes;
    int map;  // the node whose value enters the last global pooling; -1 if there is none, or it cannot be seen
    Tensors tensors;
    std::optional<Exec> exec;
    std::optional<Engine> engine;
  };

  Side a_, b_;
  int64_t batch_;
  Proof proof_;
};

}  // namespace pleat
