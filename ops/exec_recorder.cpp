#include "ops/exec_recorder.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/check.hpp"
#include "ops/add.hpp"
#include "ops/alpha_act.hpp"
#include "ops/avg_pool2d.hpp"
#include "ops/batch_norm.hpp"
#include "ops/border_conv2d.hpp"
#include "ops/convert.hpp"
#include "ops/exec.hpp"
#include "ops/flatten.hpp"
#include "ops/global_avg_pool.hpp"
#include "ops/linear.hpp"
#include "ops/max_pool2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {

// Steps look their buffers up as they run: where those lie is known only when all steps are recorded.
class ExecRecorder {
 public:
  explicit ExecRecorder(Exec& exec) : e_(exec), steps_(exec.plan_.steps), training_(exec.options_.training) {
    e_.values_.assign(e_.graph_.nodes.size(), -1);
    e_.grads_.assign(e_.graph_.nodes.size(), -1);
    e_.pictures_ = e_.memory_.add<float>(picture(0));
    for (const PlannedStep& step : steps_)
      if (!step.statistics) e_.values_[step.node] = step.node == 0 && !bf16(0) ? e_.pictures_ : new_buffer(step.node);
    if (!training_) return;
    place_gradients();
    if (e_.options_.kernels == Kernels::onednn) choose_algorithms();
  }

  void record() {
    std::vector<Group> groups(e_.plan_.groups());
    for (int g = 0; g < e_.plan_.groups(); ++g) groups[g].piece = e_.plan_.pieces[g];
    for (now_ = 0; now_ < static_cast<int>(steps_.size()); ++now_) {
      const PlannedStep& step = steps_[now_];
      place_ = {.group = step.group, .step = static_cast<int>(groups[step.group].steps.size())};
      const Op& op = e_.graph_.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].op;
      use_values(op, step);
      Step recorded = std::visit([&](const auto& o) { return visit(o, step); }, op);
      recorded.id = now_;
      recorded.name = e_.graph_.nodes[step.node].name;
      recorded.kind = kind(op);
      recorded.recompute = recomputed(step);
      groups[step.group].steps.push_back(std::move(recorded));
    }
    for (Group& group : groups) e_.tape_.record(std::move(group));
    e_.memory_.keep(e_.pictures_);
    e_.memory_.keep(e_.values_[e_.graph_.output()]);
    if (training_) e_.memory_.keep(e_.grads_[e_.graph_.output()]);
    for (int node : e_.options_.keep) {
      PLEAT_CHECK(e_.values_[node] >= 0, "exec: the value of '", e_.graph_.nodes[node].name, "' is never stored");
      PLEAT_CHECK(!bf16(node), "exec: the value of '", e_.graph_.nodes[node].name, "' is in bf16, not to be read");
      e_.memory_.keep(e_.values_[node]);
    }
  }

 private:
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
  void use_values(const Op& op, const PlannedStep& step) {
    const auto pass_over = [&](decltype(BufferUse::forward) pass) {
      if (!step.statistics) use(e_.values_[step.node], pass);
      for (int input : step.inputs) use(e_.values_[input], pass);
    };
    pass_over(BufferUse::forward);
    if (recomputed(step)) {
      pass_over(BufferUse::recompute);
      e_.memory_.expect_recomputed(e_.values_[step.node]);
    }
    if (!training_) return;
    if (backward_reads_inputs(op))
      for (int input : step.inputs) use(e_.values_[input], BufferUse::backward);
    if (!step.statistics && e_.grads_[step.node] >= 0) use(e_.grads_[step.node], BufferUse::backward);
  }

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

  void place_gradients() {
    e_.grads_[e_.graph_.output()] = new_buffer(e_.graph_.output());
    first_reader_.resize(e_.graph_.nodes.size());
    for (int s = static_cast<int>(steps_.size()) - 1; s >= 0; --s) {
      const PlannedStep& step = steps_[s];
      const bool batch_norm = step.batch_norm >= 0 && !step.statistics;
      const bool add = std::holds_alternative<Add>(e_.graph_.nodes[step.node].op) && !batch_norm;
      for (int k = batch_norm ? 1 : 0; k < std::ssize(step.inputs); ++k) {
        const int node = step.inputs[k];
        if (node == 0 || e_.grads_[node] >= 0) continue;  // nobody needs the gradient of the pictures
        const bool hand_on = batch_norm ? can_hand_to_residual(s) : add && k == 0;
        e_.grads_[node] = hand_on ? e_.grads_[step.node] : new_buffer(node);
        first_reader_[node] = {s, k, hand_on};
      }
    }
  }

  // The gradient behind a batch norm is read once more when its statistics' step comes, later in backward order: in
  // between nobody may write to the residual's gradient if that is to be the same buffer.
  bool can_hand_to_residual(int s) const {
    const int residual = steps_[s].inputs[1];
    for (int between = s - 1; !(steps_[between].statistics && steps_[between].batch_norm == steps_[s].batch_norm);
         --between) {
      const auto& inputs = steps_[between].inputs;
      if (steps_[between].node == residual || std::find(inputs.begin(), inputs.end(), residual) != inputs.end())
        return false;
    }
    return true;
  }

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

  // --- one overload a kind ---
  Step visit(const Input&, const PlannedStep&) {
    use(e_.pictures_, BufferUse::forward);
    if (!bf16(0)) return {};
    if (training_) use(e_.pictures_, BufferUse::backward);
    const Ref<float> pictures{&e_.memory_, e_.pictures_};
    const Ref<Bf16> x = value<Bf16>(0);
    return {.forward = [=](Piece piece) { convert<Bf16, float>(x(piece), pictures(piece)); }};
  }

  Step visit(const Conv2d& op, const PlannedStep& step) { return convolution(op, step); }
  Step visit(const DepthwiseConv2d& op, const PlannedStep& step) { return convolution(op, step); }

  // Of the convolutions that have a choice, in training.
  void choose_algorithms() {
    const auto convs = training_convs(e_.graph_, infer_shapes(e_.graph_), e_.plan_, e_.options_.batch);
    const auto algorithms = parse_algorithms(e_.options_.algorithms, convs);
    for (std::size_t i = 0; i < convs.size(); ++i) algorithms_[convs[i].node] = algorithms[i];
  }
  // Evaluation sums directly: its results are compared with others' to the digit.
  ConvAlgorithms algorithms(int node) const {
    const auto chosen = algorithms_.find(node);
    return chosen == algorithms_.end() ? ConvAlgorithms{} : chosen->second;
  }

  template <class Op>
  Step convolution(const Op& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      const Ref<T> x = value<T>(step.inputs[0]), y = value<T>(step.node), dy = gradient<T>(step.node);
      const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
      const std::shared_ptr<ConvKernel<T>> conv = make_conv_kernel<T>(
          x_shape(step), op,
          {.kernels = e_.options_.kernels,
           .passes = {.backward_data = training_ && step.inputs[0] != 0, .backward_weights = training_},
           .algorithms = algorithms(step.node)});
      const auto data =
          into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) { conv->backward_data(dx, dy(piece)); });
      return Step{.begin_forward = [=] { conv->begin_forward(weight.value); },
                  .forward = [=](Piece piece) { conv->forward(y(piece), x(piece), bias.value); },
                  .begin_backward = [=] { conv->begin_backward(weight.value, weight.gradient, bias.gradient); },
                  .end_backward = [=] { conv->end_backward(); },
                  .backward =
                      [=](Piece piece) {
                        conv->backward_weights(dy(piece), x(piece));
                        if (data) data(piece);
                      }};
    });
  }

  Step visit(const BorderConv2d& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      const Ref<T> x = value<T>(step.inputs[0]), y = value<T>(step.node), dy = gradient<T>(step.node);
      const Nhwc shape = x_shape(step);
      const bool has_weight = BorderGeometry(shape, op).taps > 0;
      const Parameter weight = parameter(step, ".weight", has_weight), bias = parameter(step, ".bias");
      const auto data = into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
        border_conv2d_backward_data<T>(dx, dy(piece), weight.value, shape, op);
      });
      return Step{
          .forward =
              [=](Piece piece) { border_conv2d_forward<T>(y(piece), x(piece), weight.value, bias.value, shape, op); },
          .backward =
              [=](Piece piece) {
                border_conv2d_backward_weights<T>(weight.gradient, bias.gradient, dy(piece), x(piece), shape, op);
                if (data) data(piece);
              }};
    });
  }

  // What the two steps of one batch norm share.
  template <class T>
  struct Norm {
    std::shared_ptr<BatchNormSaved<T>> saved;
    BatchNormParams<T> params;
    Ref<T> x;
    Nhwc shape;  // of a piece
  };
  template <class T>
  Norm<T> norm(const PlannedStep& step) {
    std::shared_ptr<void>& saved = norms_.try_emplace(step.batch_norm).first->second;
    const Nhwc shape = x_shape(step);
    if (!saved) saved = std::make_shared<BatchNormSaved<T>>(shape.c);
    return {std::static_pointer_cast<BatchNormSaved<T>>(saved),
            {parameter(step, ".weight").value, parameter(step, ".bias").value},
            value<T>(step.inputs[0]),
            shape};
  }
  Nhwc batch_shape(const PlannedStep& step) const { return e_.shapes_[step.inputs[0]]; }
  std::span<float> running(const PlannedStep& step, const char* suffix) {
    return e_.tensors_.at(e_.graph_.nodes[step.batch_norm].name + suffix).values;
  }

  Step visit(const BatchNorm& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return step.statistics ? batch_norm_statistics<T>(op, step) : batch_norm_apply<T>(op, step);
    });
  }

  template <class T>
  Step batch_norm_statistics(const BatchNorm& op, const PlannedStep& step) {
    const Norm<T> n = norm<T>(step);
    const Nhwc batch = batch_shape(step);
    const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
    const PlannedStep& applied = *std::find_if(steps_.begin() + now_ + 1, steps_.end(),
                                               [&](const auto& s) { return s.batch_norm == step.batch_norm; });
    const Ref<T> dy = gradient<T>(applied.node);
    use(dy.buffer, BufferUse::backward);
    // With a residual the buffer holds the gradient before the activation by now.
    const bool residual = applied.inputs.size() == 2;
    const auto tail = tail_of<T>(applied);
    return {.end_forward =
                [=] {
                  batch_norm_finish_statistics<T>(*n.saved, mean, var, n.x({0, 1}).first(batch.c), batch, op);
                },
            .forward =
                [=](Piece piece) {
                  batch_norm_add_statistics<T>(*n.saved, n.x(piece), n.x({0, 1}), n.shape);
                },
            .backward = into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
              batch_norm_backward_dx<T>(dx, dy(piece), n.x(piece), residual ? BatchNormTail<T>{} : tail(piece),
                                        *n.saved, n.params, n.shape);
            })};
  }

  // The residual's piece, the activation, alpha as it is when the step runs.
  template <class T>
  std::function<BatchNormTail<T>(Piece)> tail_of(const PlannedStep& step) {
    const bool residual = step.inputs.size() == 2;
    const Ref<T> r = value<T>(step.inputs.back());
    const AlphaAct* act = act_of(step);
    const std::span<float> alpha = act ? alpha_of(*act).value : std::span<float>{};
    return [=](Piece piece) {
      return BatchNormTail<T>{
          .residual = residual ? r(piece) : std::span<T>{}, .act = act, .alpha = alpha.empty() ? 0 : alpha[0]};
    };
  }

  template <class T>
  Step batch_norm_apply(const BatchNorm& op, const PlannedStep& step) {
    const Norm<T> n = norm<T>(step);
    const Nhwc batch = batch_shape(step);
    const bool residual = step.inputs.size() == 2;
    const Ref<T> y = value<T>(step.node);
    const auto tail = tail_of<T>(step);
    Step result{.forward = [=](Piece piece) {
      batch_norm_forward<T>(y(piece), n.x(piece), tail(piece), *n.saved, n.params, n.shape);
    }};
    if (!training_) {
      const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
      result.begin_forward = [=] { batch_norm_running<T>(*n.saved, mean, var, op); };
      return result;
    }
    const Ref<T> dy = gradient<T>(step.node);
    const auto hand_on = residual ? hand_gradient_on<T>(step, 1) : nullptr;
    result.backward = [=](Piece piece) {
      batch_norm_backward_sums<T>(*n.saved, residual ? dy(piece) : std::span<T>{}, dy(piece), n.x(piece), tail(piece),
                                  n.params, n.shape);
      if (hand_on) hand_on(piece);
    };
    const std::span<float> dgamma = parameter(step, ".weight").gradient, dbeta = parameter(step, ".bias").gradient;
    const AlphaAct* act = act_of(step);
    const std::span<float> dalpha = act ? alpha_of(*act).gradient : std::span<float>{};
    result.end_backward = [=] {
      batch_norm_backward_finish<T>(*n.saved, dalpha.data(), dgamma, dbeta, n.params, batch);
    };
    return result;
  }

  Step visit(const AlphaAct& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      const Ref<T> x = value<T>(step.inputs[0]), y = value<T>(step.node), dy = gradient<T>(step.node);
      const Parameter alpha = alpha_of(op);
      const auto a = [=] { return alpha.value.empty() ? 0 : alpha.value[0]; };
      const Nonlinearity s = op.s;
      return Step{.forward = [=](Piece piece) { alpha_act_forward<T>(y(piece), x(piece), a(), s); },
                  .backward = into_gradient<T>(
                      step, 0,
                      [=](std::span<T> dx, Piece piece) {
                        float fixed = 0;
                        float& dalpha = alpha.gradient.empty() ? fixed : alpha.gradient[0];
                        alpha_act_backward<T>(dx, dalpha, dy(piece), x(piece), a(), s);
                      },
                      true)};
    });
  }

  // An op of one input without parameters: forward(y, x, shape of x), backward(dx, dy, x, shape). Y is y's type.
  template <class T, class Y = T, class Forward, class Backward>
  Step plain(const PlannedStep& step, const Forward& forward, const Backward& backward) {
    const Ref<T> x = value<T>(step.inputs[0]);
    const Ref<Y> y = value<Y>(step.node), dy = gradient<Y>(step.node);
    const Nhwc shape = x_shape(step);
    return {.forward = [=](Piece piece) { forward(y(piece), x(piece), shape); },
            .backward = into_gradient<T>(
                step, 0, [=](std::span<T> dx, Piece piece) { backward(dx, dy(piece), x(piece), shape); })};
  }

  Step visit(const MaxPool2d& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return plain<T>(
          step, [=](auto y, auto x, const Nhwc& shape) { max_pool2d_forward<T>(y, x, shape, op); },
          [=](auto dx, auto dy, auto x, const Nhwc& shape) { max_pool2d_backward<T>(dx, dy, x, shape, op); });
    });
  }

  Step visit(const AvgPool2d& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return plain<T>(
          step, [=](auto y, auto x, const Nhwc& shape) { avg_pool2d_forward<T>(y, x, shape, op); },
          [=](auto dx, auto dy, auto, const Nhwc& shape) { avg_pool2d_backward<T>(dx, dy, shape, op); });
    });
  }

  // What these two give is f32 whatever they read.
  Step visit(const GlobalAvgPool&, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return plain<T, float>(
          step, [](auto y, auto x, const Nhwc& shape) { global_avg_pool_forward<T>(y, x, shape); },
          [](auto dx, auto dy, auto, const Nhwc& shape) { global_avg_pool_backward<T>(dx, dy, shape); });
    });
  }
  Step visit(const Flatten&, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return plain<T, float>(
          step, [](auto y, auto x, const Nhwc& shape) { flatten_forward<T>(y, x, shape); },
          [](auto dx, auto dy, auto, const Nhwc& shape) { flatten_backward<T>(dx, dy, shape); });
    });
  }

  Step visit(const Linear& op, const PlannedStep& step) {
    PLEAT_CHECK(!bf16(step.inputs[0]), "exec: bf16: linear '", e_.graph_.nodes[step.node].name,
                "' must read a pooled or flattened value");
    const Ref<float> x = value<float>(step.inputs[0]), y = value<float>(step.node), dy = gradient<float>(step.node);
    const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
    const int64_t n = x_shape(step).n, in = x_shape(step).c;
    return {
        .forward = [=](Piece piece) { linear_forward<float>(y(piece), x(piece), weight.value, bias.value, n, in, op); },
        .backward = into_gradient<float>(
            step, 0,
            [=](std::span<float> dx, Piece piece) {
              linear_backward<float>(dx, weight.gradient, bias.gradient, dy(piece), x(piece), weight.value, n, in, op);
            },
            true)};
  }

  Step visit(const Add&, const PlannedStep& step) {
    return typed(step.node, [&]<class T>(T) {
      const Ref<T> a = value<T>(step.inputs[0]), b = value<T>(step.inputs[1]), y = value<T>(step.node);
      const auto second = hand_gradient_on<T>(step, 1), first = hand_gradient_on<T>(step, 0);
      return Step{.forward = [=](Piece piece) { add_forward<T>(y(piece), a(piece), b(piece)); },
                  .backward =
                      [=](Piece piece) {
                        if (second) second(piece);
                        if (first) first(piece);
                      }};
    });
  }

  Step visit(const Shortcut& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return plain<T>(
          step, [=](auto y, auto x, const Nhwc& shape) { shortcut_forward<T>(y, x, shape, op); },
          [=](auto dx, auto dy, auto, const Nhwc& shape) { shortcut_backward<T>(dx, dy, shape, op); });
    });
  }

  Exec& e_;
  const std::vector<PlannedStep>& steps_;
  bool training_;
  int now_ = 0;                                 // the step being recorded,
  BufferUse place_;                             // and its place
  std::vector<Reader> first_reader_;            // of each value, in backward order
  std::map<int, std::shared_ptr<void>> norms_;  // batch norm -> BatchNormSaved<T>
  std::map<int, ConvAlgorithms> algorithms_;    // of convolutions that have a choice
};

void record_steps(Exec& exec) {
  ExecRecorder(exec).record();
}

}  // namespace pleat
