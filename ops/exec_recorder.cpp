#include "ops/exec_recorder.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/check.hpp"
#include "ops/alpha_act.hpp"
#include "ops/avg_pool2d.hpp"
#include "ops/batch_norm.hpp"
#include "ops/border_conv2d.hpp"
#include "ops/convert.hpp"
#include "ops/exec_values.hpp"
#include "ops/flatten.hpp"
#include "ops/global_avg_pool.hpp"
#include "ops/linear.hpp"
#include "ops/max_pool2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {

class ExecRecorder : ExecValues {
 public:
  explicit ExecRecorder(Exec& exec) : ExecValues(exec) {
    if (training_ && e_.options_.kernels == Kernels::onednn) choose_algorithms();
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
  // One overload a kind.
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

  ConvKernelOptions conv_options(const PlannedStep& step) const {
    return {.kernels = e_.options_.kernels,
            .passes = {.backward_data = training_ && step.inputs[0] != 0, .backward_weights = training_},
            .algorithms = algorithms(step.node)};
  }

  template <class Op>
  Step convolution(const Op& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      const Ref<T> x = value<T>(step.inputs[0]), y = value<T>(step.node), dy = gradient<T>(step.node);
      const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
      const std::shared_ptr<ConvKernel<T>> conv = make_conv_kernel<T>(x_shape(step), op, conv_options(step));
      const auto now = std::make_shared<Piece>();  // that it tells of
      conv->tell(add_statistics<T>(step, now), add_gradient_sums<T>(step, now));
      const auto data = into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
        *now = piece;
        conv->backward_data(dx, dy(piece));
      });
      return Step{.begin_forward = [=] { conv->begin_forward(weight.value); },
                  .forward =
                      [=](Piece piece) {
                        *now = piece;
                        conv->forward(y(piece), x(piece), bias.value);
                      },
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

  // --- sums of a batch norm, added up by the convolution beside it as it tells what it has written ---

  ConvPasses tells(const PlannedStep& step) const {
    if (step.batch_norm >= 0) return {.forward = false};
    const Op& op = e_.graph_.nodes[step.node].op;
    if (const auto* conv = std::get_if<Conv2d>(&op)) return pleat::tells(*conv, conv_options(step));
    if (const auto* conv = std::get_if<DepthwiseConv2d>(&op)) return pleat::tells(*conv, conv_options(step));
    return {.forward = false};
  }

  // The statistics of what a convolution writes, null: it does not tell, or nobody wants them.
  const PlannedStep* statistics_behind(const PlannedStep& conv) const {
    if (!training_ || !tells(conv).forward) return nullptr;
    const auto step = std::ranges::find_if(steps_, [&](const PlannedStep& s) {
      return s.statistics && s.group == conv.group && s.inputs[0] == conv.node;
    });
    return step == steps_.end() ? nullptr : &*step;
  }
  bool added_by_convolution(const PlannedStep& statistics) const {
    return std::ranges::any_of(steps_, [&](const PlannedStep& s) { return statistics_behind(s) == &statistics; });
  }
  template <class T>
  Written add_statistics(const PlannedStep& conv, const std::shared_ptr<const Piece>& now) {
    const PlannedStep* statistics = statistics_behind(conv);
    if (statistics == nullptr) return {};
    const Norm<T> n = norm<T>(*statistics);
    return [=](int64_t begin, int64_t end, int thread) {
      const std::span<const T> x = n.x(*now);
      batch_norm_add_statistics<T>(*n.saved, x.subspan(begin * n.channels, (end - begin) * n.channels), thread);
    };
  }

  // The batch norm without a residual whose value this convolution alone reads; null: none, or it does not tell.
  const PlannedStep* norm_before(const PlannedStep& conv) const {
    if (!training_ || !tells(conv).backward_data) return nullptr;
    const auto readers = std::ranges::count_if(
        steps_, [&](const PlannedStep& s) { return std::ranges::count(s.inputs, conv.inputs[0]) != 0; });
    const auto step = std::ranges::find_if(steps_, [&](const PlannedStep& s) {
      return s.batch_norm >= 0 && !s.statistics && s.group == conv.group && s.node == conv.inputs[0];
    });
    return step == steps_.end() || step->inputs.size() > 1 || readers > 1 ? nullptr : &*step;
  }
  bool summed_by_convolution(const PlannedStep& applied) const {
    return std::ranges::any_of(steps_, [&](const PlannedStep& s) { return norm_before(s) == &applied; });
  }
  template <class T>
  Written add_gradient_sums(const PlannedStep& conv, const std::shared_ptr<const Piece>& now) {
    const PlannedStep* applied = norm_before(conv);
    if (applied == nullptr) return {};
    const Norm<T> n = norm<T>(*applied);
    const Ref<T> dy = gradient<T>(applied->node);
    const auto tail = tail_of<T>(*applied);
    return [=](int64_t begin, int64_t end, int thread) {
      const auto part = [&](std::span<const T> all) {
        return all.subspan(begin * n.channels, (end - begin) * n.channels);
      };
      batch_norm_backward_sums<T>(*n.saved, {}, part(dy(*now)), part(n.x(*now)), tail(*now), n.params, thread);
    };
  }

  // What the two steps of one batch norm share.
  template <class T>
  struct Norm {
    std::shared_ptr<BatchNormSaved<T>> saved;
    BatchNormParams<T> params;
    Ref<T> x;
    int64_t channels;
  };
  template <class T>
  Norm<T> norm(const PlannedStep& step) {
    std::shared_ptr<void>& saved = norms_.try_emplace(step.batch_norm).first->second;
    const int64_t channels = x_shape(step).c;
    if (!saved) saved = std::make_shared<BatchNormSaved<T>>(channels);
    return {std::static_pointer_cast<BatchNormSaved<T>>(saved),
            {parameter(step, ".weight").value, parameter(step, ".bias").value},
            value<T>(step.inputs[0]),
            channels};
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
    const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
    const PlannedStep& applied = *std::find_if(steps_.begin() + now_ + 1, steps_.end(),
                                               [&](const auto& s) { return s.batch_norm == step.batch_norm; });
    const Ref<T> dy = gradient<T>(applied.node);
    use(dy.buffer, BufferUse::backward);
    // With a residual the buffer holds the gradient before the activation by now.
    const bool residual = applied.inputs.size() == 2;
    const auto tail = tail_of<T>(applied);
    Step result{.end_forward = [=] { batch_norm_finish_statistics<T>(*n.saved, mean, var, op); },
                .backward = into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
                  batch_norm_backward_dx<T>(dx, dy(piece), n.x(piece), residual ? BatchNormTail<T>{} : tail(piece),
                                            *n.saved, n.params);
                })};
    if (!added_by_convolution(step))
      result.forward = [=](Piece piece) { batch_norm_add_statistics<T>(*n.saved, n.x(piece)); };
    return result;
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
    Step result{
        .forward = [=](Piece piece) { batch_norm_forward<T>(y(piece), n.x(piece), tail(piece), *n.saved, n.params); }};
    if (!training_) {
      const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
      result.begin_forward = [=] { batch_norm_running<T>(*n.saved, mean, var, op); };
      return result;
    }
    const Ref<T> dy = gradient<T>(step.node);
    const auto hand_on = residual ? hand_gradient_on<T>(step, 1) : nullptr;
    if (!summed_by_convolution(step))
      result.backward = [=](Piece piece) {
        batch_norm_backward_sums<T>(*n.saved, residual ? dy(piece) : std::span<T>{}, dy(piece), n.x(piece), tail(piece),
                                    n.params);
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

  std::map<int, std::shared_ptr<void>> norms_;  // batch norm -> BatchNormSaved<T>
  std::map<int, ConvAlgorithms> algorithms_;    // of convolutions that have a choice
};

void record_steps(Exec& exec) {
  ExecRecorder(exec).record();
}

}  // namespace pleat
