// Where a step that is being recorded finds its values, their gradients and its parameters, and which pass uses them.
// Private to ops/exec/recorder.cpp.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ops/add.hpp"
#include "ops/exec/exec.hpp"

namespace pleat {

// Steps look their buffers up as they run: where those lie is known only when all steps are recorded.
class ExecValues {
 protected:
  // Gives every value its buffer, and in training every gradient.
  explicit ExecValues(Exec& exec);

  // A buffer of T that will have its place when the step runs.
  template <class T>
  struct Ref {
    const ExecMemory* memory;
    int buffer;
    std::span<T> operator()(Piece piece) const { return memory->at<T>(buffer, piece); }
  };

  bool bf16(int node) const { return e_.plan_.bf16[node]; }
  int64_t picture(int node) const { return e_.shapes_[node].size() / e_.options_.batch; }
  int new_buffer(int node) {
    return bf16(node) ? e_.memory_.add<Bf16>(picture(node)) : e_.memory_.add<float>(picture(node));
  }
  bool recomputed(const PlannedStep& step) const { return !step.statistics && e_.plan_.recompute[step.node]; }

  void use(int buffer, decltype(BufferUse::forward) pass) {
    e_.memory_.use(buffer, {.group = place_.group, .step = place_.step, .pass = pass});
  }
  void use_values(const Op& op, const PlannedStep& step);

  // Runs f with a value of the type that `node`'s value is stored as.
  template <class F>
  Step typed(int node, const F& f) {
    return bf16(node) ? f(Bf16{}) : f(float{});
  }

  // --- gradients of values ---
  // In backward order, the first step that reads a value writes its gradient, the others add to it. An add hands its
  // own gradient on to its first term, a batch norm to its residual: the buffer is then the same. A batch norm's input
  // gets its gradient from the step of the statistics.
  struct Reader {
    int step = -1, input = -1;
    bool handed_on = false;
    bool is(int s, int k) const { return step == s && input == k; }
  };

  void place_gradients();
  bool can_hand_to_residual(int s) const;

  // Runs `write`, which overwrites its argument with the gradient of this step's input k: straight into that value's
  // gradient if no later step has written it, else into a scratch buffer that is then added. For the pictures nothing
  // need be done, unless `write` has parameter gradients to find as well.
  template <class T>
  std::function<void(Piece)> into_gradient(const PlannedStep& step, int k,
                                           const std::function<void(std::span<T>, Piece)>& write,
                                           bool has_parameters = false) {
    const int node = step.inputs[k];
    if (!training_ || (node == 0 && !has_parameters)) return nullptr;
    if (node != 0) use(e_.grads_[node], BufferUse::backward);
    if (node != 0 && first_reader_[node].is(now_, k)) {
      const Ref<T> dx{&e_.memory_, e_.grads_[node]};
      return [=](Piece piece) { write(dx(piece), piece); };
    }
    const Ref<T> scratch{&e_.memory_, e_.memory_.add<T>(picture(node))};
    use(scratch.buffer, BufferUse::backward);
    if (node == 0) return [=](Piece piece) { write(scratch(piece), piece); };
    const Ref<T> dx{&e_.memory_, e_.grads_[node]};
    return [=](Piece piece) {
      write(scratch(piece), piece);
      add_forward<T>(dx(piece), dx(piece), scratch(piece));
    };
  }

  // This step's own gradient is that of its input k too.
  template <class T>
  std::function<void(Piece)> hand_gradient_on(const PlannedStep& step, int k) {
    const int node = step.inputs[k];
    if (!training_ || node == 0) return nullptr;
    const Ref<T> dx{&e_.memory_, e_.grads_[node]}, dy = gradient<T>(step.node);
    use(dx.buffer, BufferUse::backward);
    if (!first_reader_[node].is(now_, k)) return [=](Piece piece) { add_forward<T>(dx(piece), dx(piece), dy(piece)); };
    if (first_reader_[node].handed_on) return nullptr;
    return [=](Piece piece) { std::copy(dy(piece).begin(), dy(piece).end(), dx(piece).begin()); };
  }

  template <class T>
  Ref<T> value(int node) const {
    return {&e_.memory_, e_.values_[node]};
  }
  template <class T>
  Ref<T> gradient(int node) const {
    return {&e_.memory_, e_.grads_[node]};
  }

  // Of a piece of the step's input.
  Nhwc x_shape(const PlannedStep& step) const {
    Nhwc shape = e_.shapes_[step.inputs[0]];
    shape.n = e_.plan_.pieces[step.group];
    return shape;
  }

  // A parameter and its gradient; empty spans where there is none.
  struct Parameter {
    std::span<float> value, gradient;
  };
  Parameter parameter(const std::string& name, bool present = true) {
    if (!present) return {};
    Tensor& tensor = e_.tensors_.at(name);
    if (!training_) return {tensor.values, {}};
    return {tensor.values, e_.gradients_.try_emplace(name, tensor.shape).first->second.values};
  }
  Parameter parameter(const PlannedStep& step, const char* suffix, bool present = true) {
    return parameter(e_.graph_.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].name + suffix, present);
  }

  Parameter alpha_of(const AlphaAct& act) { return parameter(act.alpha, !act.alpha.empty()); }
  // The activation behind a batch norm; null: none.
  const AlphaAct* act_of(const PlannedStep& step) const {
    return step.act >= 0 ? &std::get<AlphaAct>(e_.graph_.nodes[step.act].op) : nullptr;
  }

  Exec& e_;
  const std::vector<PlannedStep>& steps_;
  bool training_;
  int now_ = 0;                       // the step being recorded,
  BufferUse place_;                   // and its place
  std::vector<Reader> first_reader_;  // of each value, in backward order
};

}  // namespace pleat
