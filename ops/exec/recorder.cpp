#include "ops/exec/recorder.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "ops/alpha_act.hpp"
#include "ops/avg_pool2d.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/convert.hpp"
#include "ops/exec/norms.hpp"
#include "ops/flatten.hpp"
#include "ops/global_avg_pool.hpp"
#include "ops/linear.hpp"
#include "ops/max_pool2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {

class ExecRecorder : ExecNorms {
 public:
  explicit ExecRecorder(Exec& exec) : ExecNorms(exec) {
    if (!training_) return;
    if (e_.options_.kernels == Kernels::onednn) choose_algorithms();
    for (int s = 0; s < std::ssize(steps_); ++s) {
      const PlannedStep& step = steps_[s];
      if (step.batch_norm >= 0) continue;
      const auto fuse = [&](const auto& conv) { fuse_norms(s, hooks_called(conv, conv_options(step))); };
      visit_op(Overloaded{[&](const IsConvolution auto& conv) { fuse(conv); }, [](const auto&) {}},
               e_.graph_.nodes[step.node].op);
    }
  }

  void record() {
    std::vector<Group> groups(e_.plan_.groups());
    for (int g = 0; g < e_.plan_.groups(); ++g) groups[g].piece = e_.plan_.pieces[g];
    for (now_ = 0; now_ < static_cast<int>(steps_.size()); ++now_) {
      const PlannedStep& step = steps_[now_];
      place_ = {.group = step.group, .step = static_cast<int>(groups[step.group].steps.size())};
      const Op& op = e_.graph_.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].op;
      use_values(op, step);
      Step recorded = visit_op([&](const auto& o) -> decltype(visit(o, step)) { return visit(o, step); }, op);
      recorded.id = now_;
      recorded.name = e_.graph_.nodes[step.node].name;
      recorded.kind = kind(op);
      if (recomputed(step) && step.batch_norm < 0) recorded.recompute = recorded.forward;
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
      conv->attach(hooks<T>(now_));
      const auto now = piece_of_hooks();
      const auto gradients = [=](std::span<T> dx, Piece piece) {
        *now = piece;
        conv->backward(dx, dy(piece), x(piece));
      };
      auto backward = into_gradient<T>(step, 0, gradients);
      if (!backward) backward = [=](Piece piece) { gradients({}, piece); };
      return Step{.begin_forward = [=] { conv->begin_forward(weight.value); },
                  .forward =
                      [=](Piece piece) {
                        *now = piece;
                        conv->forward(y(piece), x(piece), bias.value);
                      },
                  .begin_backward = [=] { conv->begin_backward(weight.value, weight.gradient, bias.gradient); },
                  .end_backward = [=] { conv->end_backward(); },
                  .backward = backward};
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

  Step visit(const BatchNorm& op, const PlannedStep& step) {
    return typed(step.inputs[0], [&]<class T>(T) {
      return step.statistics ? batch_norm_statistics<T>(op, step) : batch_norm_apply<T>(op, step);
    });
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

  std::map<int, ConvAlgorithms> algorithms_;  // of convolutions that have a choice
};

void record_steps(Exec& exec) {
  ExecRecorder(exec).record();
}

}  // namespace pleat
