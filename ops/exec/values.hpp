// Where the steps of an executor find their values, the gradients of these, and their parameters; and which pass uses
// which buffer. Private to ops/exec: recorder.cpp and norms.hpp ask it while they record.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ops/add.hpp"
#include "ops/exec/recorder.hpp"

namespace pleat {

/// A buffer of T. Where it lies is known only when all steps are recorded, so steps look it up as they run.
template <class T>
struct BufferRef {
  const ExecMemory* memory;
  int buffer;
  std::span<T> operator()(const Piece& piece) const { return memory->at<T>(buffer, piece); }
};

/// A parameter and its gradient. Both are empty where there is no such parameter, the gradient also outside training.
struct ParameterRef {
  std::span<float> value, gradient;
};

class ExecValues {
 public:
  /// Gives every value its buffer, and in training every gradient of one.
  explicit ExecValues(const ExecParts& parts);

  const ExecParts& parts() const { return parts_; }
  const std::vector<PlannedStep>& steps() const { return parts_.plan.steps; }
  bool training() const { return parts_.options.training; }
  const ExecBuffers& buffers() const { return buffers_; }

  bool bf16(int node) const { return parts_.plan.bf16[node]; }
  bool recomputed(const PlannedStep& step) const { return !step.statistics && parts_.plan.recompute[step.node]; }

  /// Runs f with a value of the type that `node`'s value is stored as.
  template <class F>
  auto typed(int node, const F& f) const {
    return bf16(node) ? f(Bf16{}) : f(float{});
  }

  template <class T>
  BufferRef<T> value(int node) const {
    return {&parts_.memory, buffers_.values[node]};
  }
  template <class T>
  BufferRef<T> gradient(int node) const {
    return {&parts_.memory, buffers_.gradients[node]};
  }

  /// The shape of the step's input, for a piece.
  Nhwc x_shape(const PlannedStep& step) const {
    Nhwc shape = parts_.shapes[step.inputs[0]];
    shape.n = parts_.plan.pieces[step.group];
    return shape;
  }

  /// Notes that the step uses a buffer in a pass.
  void use(const PlannedStep& step, int buffer, decltype(BufferUse::forward) pass) {
    parts_.memory.use(buffer, {.group = step.group, .step = step.index_in_group, .pass = pass});
  }
  /// Notes it for the values that the step reads and writes, and for its own gradient.
  void use_values(const Op& op, const PlannedStep& step);

  /// Runs `write`, which overwrites its argument with the gradient of the step's input k: straight into that value's
  /// gradient if no later step has written it, else into a scratch buffer that is then added. For the pictures nothing
  /// need be done, unless `write` has gradients of parameters to find as well.
  template <class T>
  std::function<void(Piece)> into_gradient(const PlannedStep& step, int k,
                                           const std::function<void(std::span<T>, Piece)>& write,
                                           bool has_parameters = false) {
    const int node = step.inputs[k];
    if (!training() || (node == 0 && !has_parameters)) return nullptr;
    const BufferRef<T> dx = gradient<T>(node);
    if (node != 0) use(step, dx.buffer, BufferUse::backward);
    if (node != 0 && first_reader_[node].is(step, k)) return [=](Piece piece) { write(dx(piece), piece); };
    const BufferRef<T> scratch{&parts_.memory, parts_.memory.add<T>(picture_size(node))};
    use(step, scratch.buffer, BufferUse::backward);
    if (node == 0) return [=](Piece piece) { write(scratch(piece), piece); };
    return [=](Piece piece) {
      write(scratch(piece), piece);
      add_forward<T>(dx(piece), dx(piece), scratch(piece));
    };
  }

  /// The step's own gradient is that of its input k too.
  template <class T>
  std::function<void(Piece)> hand_gradient_on(const PlannedStep& step, int k) {
    const int node = step.inputs[k];
    if (!training() || node == 0) return nullptr;
    const BufferRef<T> dx = gradient<T>(node), dy = gradient<T>(step.node);
    use(step, dx.buffer, BufferUse::backward);
    if (!first_reader_[node].is(step, k)) return [=](Piece piece) { add_forward<T>(dx(piece), dx(piece), dy(piece)); };
    if (first_reader_[node].handed_on) return nullptr;
    return [=](Piece piece) { std::copy(dy(piece).begin(), dy(piece).end(), dx(piece).begin()); };
  }

  /// The parameter of that name, if it is `present`.
  ParameterRef parameter(const std::string& name, bool present = true) {
    if (!present) return {};
    Tensor& tensor = parts_.tensors.at(name);
    if (!training()) return {tensor.values, {}};
    return {tensor.values, parts_.gradients.try_emplace(name, tensor.shape).first->second.values};
  }
  /// The parameter of the step's own op, or of its batch norm, with that suffix.
  ParameterRef parameter(const PlannedStep& step, const char* suffix, bool present = true) {
    return parameter(parts_.graph.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].name + suffix, present);
  }

  ParameterRef alpha_of(const AlphaAct& act) { return parameter(act.alpha, !act.alpha.empty()); }
  /// The activation behind a batch norm; null if there is none.
  const AlphaAct* act_of(const PlannedStep& step) const {
    return step.act >= 0 ? &std::get<AlphaAct>(parts_.graph.nodes[step.act].op) : nullptr;
  }

 private:
  // In backward order, the first step that reads a value writes its gradient, the others add to it. An add hands its
  // own gradient on to its first term, a batch norm to its residual: the buffer is then the same. A batch norm's input
  // gets its gradient from the step of the statistics.
  struct Reader {
    int step = -1, input = -1;
    bool handed_on = false;
    bool is(const PlannedStep& s, int k) const { return step == s.index && input == k; }
  };

  int64_t picture_size(int node) const { return parts_.shapes[node].size() / parts_.options.batch; }
  int new_buffer(int node) {
    const int64_t size = picture_size(node);
    return bf16(node) ? parts_.memory.add<Bf16>(size) : parts_.memory.add<float>(size);
  }
  void place_gradients();
  bool can_hand_to_residual(int s) const;

  const ExecParts parts_;
  ExecBuffers buffers_;
  std::vector<Reader> first_reader_;  // of each value, in backward order
};

}  // namespace pleat
