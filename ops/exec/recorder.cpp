#include "ops/exec/recorder.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "ops/alpha_act.hpp"
#include "ops/avg_pool2d.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/conv/choose_training_algorithm.hpp"
#include "ops/convert.hpp"
#include "ops/exec/norms.hpp"
#include "ops/flatten.hpp"
#include "ops/global_avg_pool.hpp"
#include "ops/linear.hpp"
#include "ops/max_pool2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {

namespace {

class Recorder {
 public:
  explicit Recorder(const ExecParts& parts) : parts_(parts), values_(parts), norms_(values_) {
    if (training() && parts_.options.kernels == Kernels::onednn) choose_algorithms();
    // Kernels come first, because which work batch norms are left with depends on which hooks the kernels take.
    build_kernels();
  }

  void record(Tape& tape) {
    const ExecPlan& plan = parts_.plan;
    std::vector<TapeGroup> groups(plan.groups());
    for (int g = 0; g < plan.groups(); ++g) groups[g].piece = plan.pieces[g];
    for (const PlannedStep& step : plan.steps) {
      const Op& op = parts_.graph.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].op;
      values_.use_values(op, step);
      TapeStep recorded = visit_op([&](const auto& o) -> decltype(visit(o, step)) { return visit(o, step); }, op);
      recorded.index = step.index;
      recorded.name = parts_.graph.nodes[step.node].name;
      recorded.kind = kind(op);
      if (values_.recomputed(step) && step.batch_norm < 0) recorded.recompute = recorded.forward;
      groups[step.group].steps.push_back(std::move(recorded));
    }
    for (TapeGroup& group : groups) tape.record(std::move(group));
    keep_buffers();
  }

  const ExecBuffers& buffers() const { return values_.buffers(); }

 private:
  // What the caller reads and writes keeps its memory from the first step to the last.
  void keep_buffers() {
    const ExecBuffers& buffers = values_.buffers();
    parts_.memory.keep(buffers.pictures);
    parts_.memory.keep(buffers.values[parts_.graph.output()]);
    if (training()) parts_.memory.keep(buffers.gradients[parts_.graph.output()]);
    for (const int node : parts_.options.keep) {
      const std::string& name = parts_.graph.nodes[node].name;
      PLEAT_CHECK(buffers.values[node] >= 0, "exec: the value of '", name, "' is never stored");
      PLEAT_CHECK(!values_.bf16(node), "exec: the value of '", name, "' is in bf16, expected f32");
      parts_.memory.keep(buffers.values[node]);
    }
  }

  // One overload a kind.
  TapeStep visit(const Input&, const PlannedStep& step) {
    const int buffer = values_.buffers().pictures;
    values_.use(step, buffer, BufferUse::forward);
    if (!values_.bf16(0)) return {};
    if (training()) values_.use(step, buffer, BufferUse::backward);
    const BufferRef<float> pictures{&parts_.memory, buffer};
    const BufferRef<Bf16> x = values_.value<Bf16>(0);
    return {.forward = [=](Piece piece) { convert<Bf16, float>(x(piece), pictures(piece)); }};
  }

  TapeStep visit(const Conv2d& op, const PlannedStep& step) { return convolution(op, step); }
  TapeStep visit(const DepthwiseConv2d& op, const PlannedStep& step) { return convolution(op, step); }

  // Of the convolutions that have a choice, in training.
  void choose_algorithms() {
    const auto convs = training_convs(parts_.graph, infer_shapes(parts_.graph), parts_.plan, parts_.options.batch);
    const auto algorithms = parse_algorithms(parts_.options.algorithms, convs);
    for (std::size_t i = 0; i < convs.size(); ++i) algorithms_[convs[i].node] = algorithms[i];
  }
  // Evaluation sums directly: its results are compared with others' to the digit.
  ConvAlgorithms algorithms(int node) const {
    const auto chosen = algorithms_.find(node);
    return chosen == algorithms_.end() ? ConvAlgorithms{} : chosen->second;
  }

  ConvKernelOptions conv_options(const PlannedStep& step) const {
    return {.kernels = parts_.options.kernels,
            .passes = {.backward_data = training() && step.inputs[0] != 0, .backward_weights = training()},
            .algorithms = algorithms(step.node)};
  }

  template <class T>
  using KernelByStep = std::map<int, std::shared_ptr<ConvKernel<T>>>;

  template <class ConvOp>
  void build_kernel(const ConvOp& op, const PlannedStep& step) {
    values_.typed(step.inputs[0], [&]<class T>(T) {
      std::shared_ptr<ConvKernel<T>> kernel = make_conv_kernel<T>(values_.x_shape(step), op, conv_options(step));
      if (training()) norms_.share_work<T>(step, *kernel);
      std::get<KernelByStep<T>>(kernels_)[step.index] = std::move(kernel);
    });
  }
  // Below build_kernel(), which clang 14 would call here but not compile if it came later.
  void build_kernels() {
    for (const PlannedStep& step : values_.steps())
      if (step.batch_norm < 0)
        visit_op(Overloaded{[&](const IsConvolution auto& op) { build_kernel(op, step); }, [](const auto&) {}},
                 parts_.graph.nodes[step.node].op);
  }

  template <class ConvOp>
  TapeStep convolution(const ConvOp& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      const BufferRef<T> x = values_.value<T>(step.inputs[0]), y = values_.value<T>(step.node),
                         dy = values_.gradient<T>(step.node);
      const ParameterRef weight = values_.parameter(step, ".weight"), bias = values_.parameter(step, ".bias", op.bias);
      const std::shared_ptr<ConvKernel<T>> kernel = std::get<KernelByStep<T>>(kernels_).at(step.index);
      const auto gradients = [=](std::span<T> dx, Piece piece) { kernel->backward(dx, dy(piece), x(piece), piece); };
      auto backward = values_.into_gradient<T>(step, 0, gradients);
      if (!backward) backward = [=](Piece piece) { gradients({}, piece); };
      return TapeStep{.begin_forward = [=] { kernel->begin_forward(weight.value); },
                      .forward = [=](Piece piece) { kernel->forward(y(piece), x(piece), bias.value, piece); },
                      .begin_backward = [=] { kernel->begin_backward(weight.value, weight.gradient, bias.gradient); },
                      .end_backward = [=] { kernel->end_backward(); },
                      .backward = backward};
    });
  }

  TapeStep visit(const BorderConv2d& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      const BufferRef<T> x = values_.value<T>(step.inputs[0]), y = values_.value<T>(step.node),
                         dy = values_.gradient<T>(step.node);
      const Nhwc shape = values_.x_shape(step);
      const bool has_weight = BorderGeometry(shape, op).taps > 0;
      const ParameterRef weight = values_.parameter(step, ".weight", has_weight),
                         bias = values_.parameter(step, ".bias");
      const auto data = values_.into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
        border_conv2d_backward_data<T>(dx, dy(piece), weight.value, shape, op);
      });
      return TapeStep{
          .forward =
              [=](Piece piece) { border_conv2d_forward<T>(y(piece), x(piece), weight.value, bias.value, shape, op); },
          .backward =
              [=](Piece piece) {
                border_conv2d_backward_weights<T>(weight.gradient, bias.gradient, dy(piece), x(piece), shape, op);
                if (data) data(piece);
              }};
    });
  }

  TapeStep visit(const BatchNorm& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      return step.statistics ? norms_.statistics<T>(op, step) : norms_.application<T>(op, step);
    });
  }

  TapeStep visit(const AlphaAct& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      const BufferRef<T> x = values_.value<T>(step.inputs[0]), y = values_.value<T>(step.node),
                         dy = values_.gradient<T>(step.node);
      const ParameterRef alpha = values_.alpha_of(op);
      const auto a = [=] { return alpha.value.empty() ? 0 : alpha.value[0]; };
      const Nonlinearity s = op.s;
      return TapeStep{.forward = [=](Piece piece) { alpha_act_forward<T>(y(piece), x(piece), a(), s); },
                      .backward = values_.into_gradient<T>(
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
  TapeStep plain(const PlannedStep& step, const Forward& forward, const Backward& backward) {
    const BufferRef<T> x = values_.value<T>(step.inputs[0]);
    const BufferRef<Y> y = values_.value<Y>(step.node), dy = values_.gradient<Y>(step.node);
    const Nhwc shape = values_.x_shape(step);
    return {.forward = [=](Piece piece) { forward(y(piece), x(piece), shape); },
            .backward = values_.into_gradient<T>(
                step, 0, [=](std::span<T> dx, Piece piece) { backward(dx, dy(piece), x(piece), shape); })};
  }

  TapeStep visit(const MaxPool2d& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      return plain<T>(
          step, [=](auto y, auto x, const Nhwc& shape) { max_pool2d_forward<T>(y, x, shape, op); },
          [=](auto dx, auto dy, auto x, const Nhwc& shape) { max_pool2d_backward<T>(dx, dy, x, shape, op); });
    });
  }

  TapeStep visit(const AvgPool2d& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      return plain<T>(
          step, [=](auto y, auto x, const Nhwc& shape) { avg_pool2d_forward<T>(y, x, shape, op); },
          [=](auto dx, auto dy, auto, const Nhwc& shape) { avg_pool2d_backward<T>(dx, dy, shape, op); });
    });
  }

  // What these two give is f32 whatever they read.
  TapeStep visit(const GlobalAvgPool&, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      return plain<T, float>(
          step, [](auto y, auto x, const Nhwc& shape) { global_avg_pool_forward<T>(y, x, shape); },
          [](auto dx, auto dy, auto, const Nhwc& shape) { global_avg_pool_backward<T>(dx, dy, shape); });
    });
  }
  TapeStep visit(const Flatten&, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      return plain<T, float>(
          step, [](auto y, auto x, const Nhwc& shape) { flatten_forward<T>(y, x, shape); },
          [](auto dx, auto dy, auto, const Nhwc& shape) { flatten_backward<T>(dx, dy, shape); });
    });
  }

  TapeStep visit(const Linear& op, const PlannedStep& step) {
    PLEAT_CHECK(!values_.bf16(step.inputs[0]), "exec: bf16: linear '", parts_.graph.nodes[step.node].name,
                "' must read a pooled or flattened value");
    const BufferRef<float> x = values_.value<float>(step.inputs[0]), y = values_.value<float>(step.node),
                           dy = values_.gradient<float>(step.node);
    const ParameterRef weight = values_.parameter(step, ".weight"), bias = values_.parameter(step, ".bias", op.bias);
    const int64_t n = values_.x_shape(step).n, in = values_.x_shape(step).c;
    return {
        .forward = [=](Piece piece) { linear_forward<float>(y(piece), x(piece), weight.value, bias.value, n, in, op); },
        .backward = values_.into_gradient<float>(
            step, 0,
            [=](std::span<float> dx, Piece piece) {
              linear_backward<float>(dx, weight.gradient, bias.gradient, dy(piece), x(piece), weight.value, n, in, op);
            },
            true)};
  }

  TapeStep visit(const Add&, const PlannedStep& step) {
    return values_.typed(step.node, [&]<class T>(T) {
      const BufferRef<T> a = values_.value<T>(step.inputs[0]), b = values_.value<T>(step.inputs[1]),
                         y = values_.value<T>(step.node);
      const auto second = values_.hand_gradient_on<T>(step, 1), first = values_.hand_gradient_on<T>(step, 0);
      return TapeStep{.forward = [=](Piece piece) { add_forward<T>(y(piece), a(piece), b(piece)); },
                      .backward =
                          [=](Piece piece) {
                            if (second) second(piece);
                            if (first) first(piece);
                          }};
    });
  }

  TapeStep visit(const Shortcut& op, const PlannedStep& step) {
    return values_.typed(step.inputs[0], [&]<class T>(T) {
      return plain<T>(
          step, [=](auto y, auto x, const Nhwc& shape) { shortcut_forward<T>(y, x, shape, op); },
          [=](auto dx, auto dy, auto, const Nhwc& shape) { shortcut_backward<T>(dx, dy, shape, op); });
    });
  }

  bool training() const { return values_.training(); }

  const ExecParts parts_;
  ExecValues values_;
  BatchNormSteps norms_;
  std::map<int, ConvAlgorithms> algorithms_;                     // by node, of convolutions that have a choice
  std::tuple<KernelByStep<float>, KernelByStep<Bf16>> kernels_;  // by step
};

}  // namespace

ExecBuffers record_steps(const ExecParts& parts, Tape& tape) {
  Recorder recorder(parts);
  recorder.record(tape);
  return recorder.buffers();
}

}  // namespace pleat
