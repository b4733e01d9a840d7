// What a network does, step by step: recorded once, replayed forward and walked backward at every training step.
//
// A batch goes through in pieces of a few pictures, so that what one step writes is still in the cache when the next
// one reads it. Only where a step needs the whole batch before the next may run (batch norm's statistics) do the pieces
// wait for each other: there a group of steps ends.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ops/piece.hpp"

namespace pleat {

/// One recorded operation, under its node's name and kind. `forward`, `recompute` and `backward` are called for each
/// piece, `begin_*` and `end_*` once a batch, before and after the pieces of the step's group. `recompute` writes the
/// value a second time, before the group's backward pass. An empty function means that there is nothing to do.
struct TapeStep {
  int index = 0;  ///< In ExecPlan::steps.
  std::string name = {}, kind = {};
  std::function<void()> begin_forward = {}, end_forward = {};
  std::function<void(Piece)> forward = {}, recompute = {};
  std::function<void()> begin_backward = {}, end_backward = {};
  std::function<void(Piece)> backward = {};
};

/// Steps that a piece runs through one after the other, before the next piece does.
struct TapeGroup {
  int64_t piece = 1;  ///< Pictures in a piece; divides the batch.
  std::vector<TapeStep> steps = {};
};

/// Why a step ran: on a piece, or once a batch, before or after the pieces.
enum class Pass { forward, recompute, backward, once };

class Tape {
 public:
  explicit Tape(int64_t batch = 0) : batch_(batch) {}
  void record(TapeGroup group) { groups_.push_back(std::move(group)); }
  const std::vector<TapeGroup>& groups() const { return groups_; }

  /// `observe(step, pass, piece)` is called after each thing done for a step; once a batch, piece.size is 0.
  template <class Observe>
  void forward(const Observe& observe) const {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const TapeGroup& group = groups_[g];
      for (const TapeStep& step : group.steps) run(step, step.begin_forward, observe);
      for_pieces(group, g % 2 == 1, [&](Piece piece) {
        for (const TapeStep& step : group.steps) run(step, step.forward, observe, Pass::forward, piece);
      });
      for (const TapeStep& step : group.steps) run(step, step.end_forward, observe);
    }
  }
  /// `finished(group)` is called after each group, the last of which comes first.
  template <class Observe, class Finished>
  void backward(const Observe& observe, const Finished& finished) const {
    for (std::size_t g = groups_.size(); g-- > 0;) {
      const std::vector<TapeStep>& steps = groups_[g].steps;
      for (auto step = steps.rbegin(); step != steps.rend(); ++step) run(*step, step->begin_backward, observe);
      for_pieces(groups_[g], g % 2 == 0, [&](Piece piece) {
        for (const TapeStep& step : steps) run(step, step.recompute, observe, Pass::recompute, piece);
        for (auto step = steps.rbegin(); step != steps.rend(); ++step)
          run(*step, step->backward, observe, Pass::backward, piece);
      });
      for (auto step = steps.rbegin(); step != steps.rend(); ++step) run(*step, step->end_backward, observe);
      finished(static_cast<int>(g));
    }
  }

 private:
  // In every group the other way round than in the one that ran before, whose last pieces the caches still hold.
  template <class Body>
  void for_pieces(const TapeGroup& group, bool last_first, const Body& body) const {
    for (int64_t begin = 0; begin < batch_; begin += group.piece)
      body(Piece{last_first ? batch_ - group.piece - begin : begin, group.piece});
  }
  template <class Observe>
  static void run(const TapeStep& step, const std::function<void()>& what, const Observe& observe) {
    if (!what) return;
    what();
    observe(step, Pass::once, Piece{});
  }
  template <class Observe>
  static void run(const TapeStep& step, const std::function<void(Piece)>& what, const Observe& observe, Pass pass,
                  Piece piece) {
    if (!what) return;
    what(piece);
    observe(step, pass, piece);
  }

  int64_t batch_;
  std::vector<TapeGroup> groups_;
};

}  // namespace pleat
