#include "ops/exec.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/add.hpp"
#include "ops/alpha_act.hpp"
#include "ops/avg_pool2d.hpp"
#include "ops/batch_norm.hpp"
#include "ops/conv2d.hpp"
#include "ops/conv2d_onednn.hpp"
#include "ops/depthwise_conv2d.hpp"
#include "ops/flatten.hpp"
#include "ops/global_avg_pool.hpp"
#include "ops/linear.hpp"
#include "ops/max_pool2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// What becomes one step: a node, or a batch norm with the add and activation behind it. The step writes `node`'s value.
struct Fused {
  int node;
  int batch_norm = -1, act = -1;  // nodes, -1: not part of it
  std::vector<int> inputs;        // nodes whose values are read; behind a batch norm's input, the residual
};

// The step that ends at each node, in topological order; nodes inside a fused step have none.
std::vector<Fused> fuse(const Graph& graph) {
  const auto readers = consumers(graph);
  std::vector<Fused> at(graph.nodes.size());
  std::vector<bool> inside(graph.nodes.size(), false);
  for (int i = 0; i <= graph.output(); ++i) at[i] = {.node = i, .inputs = graph.nodes[i].inputs};
  for (int i = 0; i <= graph.output(); ++i) {
    if (!std::holds_alternative<BatchNorm>(graph.nodes[i].op)) continue;
    Fused step{.node = i, .batch_norm = i, .inputs = graph.nodes[i].inputs};
    const auto follow = [&](auto wanted) {  // the only reader, if it is of the wanted kind and not yet taken
      if (readers[step.node].size() != 1) return -1;
      const int next = readers[step.node][0];
      const bool taken = inside[next] || at[next].batch_norm >= 0;
      return std::holds_alternative<decltype(wanted)>(graph.nodes[next].op) && !taken ? next : -1;
    };
    if (const int add = follow(Add{}); add >= 0) {
      const auto& terms = graph.nodes[add].inputs;
      step.inputs.push_back(terms[0] == step.node ? terms[1] : terms[0]);
      inside[step.node] = true;
      step.node = add;
    }
    if (const int act = follow(AlphaAct{}); act >= 0) {
      inside[step.node] = true;
      step.node = step.act = act;
    }
    at[step.node] = step;
  }
  std::vector<Fused> steps;
  for (int i = 0; i <= graph.output(); ++i)
    if (!inside[i]) steps.push_back(at[i]);
  return steps;
}

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

}  // namespace

// Writes the tape. Buffers are numbered while it does; their lifetimes are counted in steps forward (0, 1, ...) and
// then backward (..., 1, 0); where they lie is known only when all are, so that steps look them up as they run.
class Exec::Recorder {
 public:
  explicit Recorder(Exec& exec) : e_(exec), steps_(fuse(exec.graph_)), training_(exec.options_.training) {
    e_.values_.assign(e_.graph_.nodes.size(), -1);
    e_.grads_.assign(e_.graph_.nodes.size(), -1);
    for (const Fused& step : steps_) e_.values_[step.node] = new_buffer(e_.shapes_[step.node].size());
    if (training_) place_gradients();
  }

  void record() {
    for (now_ = 0; now_ < count(); ++now_) {
      const Fused& step = steps_[now_];
      forward_use(e_.values_[step.node]);
      for (int input : step.inputs) forward_use(e_.values_[input]);
      if (e_.grads_[step.node] >= 0) backward_use(e_.grads_[step.node]);
      const Op& op = e_.graph_.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].op;
      Step recorded = std::visit([&](const auto& o) { return visit(o, step); }, op);
      recorded.name = e_.graph_.nodes[step.node].name;
      recorded.kind = kind(op);
      e_.tape_.record(std::move(recorded));
      e_.step_nodes_.push_back(step.node);
    }
    keep_alive(e_.values_[0]);
    keep_alive(e_.values_[e_.graph_.output()]);
    if (training_) keep_alive(e_.grads_[e_.graph_.output()]);
    for (int node : e_.options_.keep) {
      PLEAT_CHECK(e_.values_[node] >= 0, "exec: the value of '", e_.graph_.nodes[node].name, "' is never stored");
      keep_alive(e_.values_[node]);
    }
  }

 private:
  using Floats = std::span<float>;

  // A buffer that will have its place when the step runs.
  struct Ref {
    const Exec* exec;
    int buffer;
    Floats operator()() const { return exec->at(buffer); }
  };

  int count() const { return static_cast<int>(steps_.size()); }
  int new_buffer(int64_t size) {
    e_.buffers_.push_back({size, 0, -1});
    return static_cast<int>(e_.buffers_.size()) - 1;
  }
  void use(int buffer, int time) {
    Lifetime& life = e_.buffers_[buffer];
    life = life.last < 0 ? Lifetime{life.size, time, time}
                         : Lifetime{life.size, std::min(life.first, time), std::max(life.last, time)};
  }
  void forward_use(int buffer) { use(buffer, now_); }
  void backward_use(int buffer) { use(buffer, 2 * count() - 1 - now_); }
  void keep_alive(int buffer) { use(buffer, 0), use(buffer, 2 * count() - 1); }

  // --- gradients of values ---
  // In backward order, the first step that reads a value writes its gradient, the others add to it. An add hands its
  // own gradient on to its first term, a batch norm to its residual or else its input: the buffer is then the same.
  struct Reader {
    int step = -1, input = -1;
    bool handed_on = false;
    bool is(int s, int k) const { return step == s && input == k; }
  };
  void place_gradients() {
    e_.grads_[e_.graph_.output()] = new_buffer(e_.shapes_[e_.graph_.output()].size());
    first_reader_.resize(e_.graph_.nodes.size());
    for (int s = count() - 1; s >= 0; --s) {
      const Fused& step = steps_[s];
      const bool add = std::holds_alternative<Add>(e_.graph_.nodes[step.node].op) && step.batch_norm < 0;
      for (int k = 0; k < static_cast<int>(step.inputs.size()); ++k) {
        const int node = step.inputs[k];
        if (node == 0 || e_.grads_[node] >= 0) continue;  // nobody needs the gradient of the pictures
        const bool hand_on = step.batch_norm >= 0 ? k + 1 == static_cast<int>(step.inputs.size()) : add && k == 0;
        e_.grads_[node] = hand_on ? e_.grads_[step.node] : new_buffer(e_.shapes_[node].size());
        first_reader_[node] = {s, k, hand_on};
      }
    }
  }

  // Runs `write`, which overwrites its argument with the gradient of this step's input k: straight into that value's
  // gradient if no later step has written it, else into a scratch buffer that is then added. For the pictures nothing
  // need be done, unless `write` has parameter gradients to find as well.
  std::function<void()> into_gradient(const Fused& step, int k, const std::function<void(Floats)>& write,
                                      bool has_parameters = false) {
    const int node = step.inputs[k];
    if (!training_ || (node == 0 && !has_parameters)) return nullptr;
    if (node == 0) {
      const Ref unused{&e_, new_buffer(e_.shapes_[node].size())};
      backward_use(unused.buffer);
      return [=] { write(unused()); };
    }
    const Ref dx{&e_, e_.grads_[node]};
    backward_use(dx.buffer);
    if (first_reader_[node].is(now_, k)) return [=] { write(dx()); };
    const Ref scratch{&e_, new_buffer(e_.shapes_[node].size())};
    backward_use(scratch.buffer);
    return [=] {
      write(scratch());
      add_forward<float>(dx(), dx(), scratch());
    };
  }

  // This step's own gradient is that of its input k too.
  std::function<void()> hand_gradient_on(const Fused& step, int k) {
    const int node = step.inputs[k];
    if (!training_ || node == 0) return nullptr;
    const Ref dx{&e_, e_.grads_[node]}, dy = gradient(step);
    backward_use(dx.buffer);
    if (!first_reader_[node].is(now_, k)) return [=] { add_forward<float>(dx(), dx(), dy()); };
    if (first_reader_[node].handed_on) return nullptr;
    return [=] { std::copy(dy().begin(), dy().end(), dx().begin()); };
  }

  Ref value(int node) const { return {&e_, e_.values_[node]}; }
  Ref gradient(const Fused& step) const { return {&e_, e_.grads_[step.node]}; }
  Ref saved(int node) {  // a value that the backward pass reads too
    if (training_) backward_use(e_.values_[node]);
    return value(node);
  }
  const Nhwc& x_shape(const Fused& step) const { return e_.shapes_[step.inputs[0]]; }

  // A parameter and its gradient; empty spans where there is none.
  struct Parameter {
    Floats value, gradient;
  };
  Parameter parameter(const std::string& name, bool present = true) {
    if (!present) return {};
    Tensor& tensor = e_.tensors_.at(name);
    if (!training_) return {tensor.values, {}};
    return {tensor.values, e_.gradients_.try_emplace(name, tensor.shape).first->second.values};
  }
  Parameter parameter(const Fused& step, const char* suffix, bool present = true) {
    return parameter(e_.graph_.nodes[step.batch_norm >= 0 ? step.batch_norm : step.node].name + suffix, present);
  }

  // --- one overload a kind ---
  Step visit(const Input&, const Fused&) { return {}; }

  Step visit(const Conv2d& op, const Fused& step) {
    if (e_.options_.kernels == Kernels::onednn) return onednn_conv(op, step);
    const Ref x = saved(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
    const Nhwc shape = x_shape(step);
    AlignedVector<float>& workspace = e_.workspace_;
    workspace.resize(std::max<std::size_t>(workspace.size(), conv2d_workspace(shape, op)));
    const auto data = into_gradient(step, 0, [=, &workspace](Floats dx) {
      conv2d_backward_data<float>(dx, dy(), weight.value, shape, op, workspace);
    });
    return {
        .forward = [=, &workspace] { conv2d_forward<float>(y(), x(), weight.value, bias.value, shape, op, workspace); },
        .backward =
            [=, &workspace] {
              conv2d_backward_weights<float>(weight.gradient, bias.gradient, dy(), x(), shape, op, workspace);
              if (data) data();
            }};
  }

  Step onednn_conv(const Conv2d& op, const Fused& step) {
    const Ref x = saved(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
    const auto conv = std::make_shared<OnednnConv2d>(x_shape(step), op, training_, step.inputs[0] != 0);
    const auto data = into_gradient(step, 0, [=](Floats dx) { conv->backward_data(dx, dy(), weight.value); });
    return {.forward = [=] { conv->forward(y(), x(), weight.value, bias.value); },
            .backward =
                [=] {
                  conv->backward_weights(weight.gradient, bias.gradient, dy(), x());
                  if (data) data();
                }};
  }

  Step visit(const DepthwiseConv2d& op, const Fused& step) {
    const Nhwc shape = x_shape(step);
    if (e_.options_.kernels == Kernels::onednn) {
      const int channels = static_cast<int>(shape.c);
      return onednn_conv({.out = channels,
                          .kernel = op.kernel,
                          .stride = op.stride,
                          .pad = op.pad,
                          .groups = channels,
                          .bias = op.bias},
                         step);
    }
    const Ref x = saved(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
    AlignedVector<float>& workspace = e_.workspace_;
    workspace.resize(std::max<std::size_t>(workspace.size(), depthwise_conv2d_workspace(shape, op)));
    const auto data = into_gradient(step, 0, [=, &workspace](Floats dx) {
      depthwise_conv2d_backward_data<float>(dx, dy(), weight.value, shape, op, workspace);
    });
    return {.forward =
                [=, &workspace] {
                  depthwise_conv2d_forward<float>(y(), x(), weight.value, bias.value, shape, op, workspace);
                },
            .backward =
                [=, &workspace] {
                  depthwise_conv2d_backward_weights<float>(weight.gradient, bias.gradient, dy(), x(), shape, op,
                                                           workspace);
                  if (data) data();
                }};
  }

  Step visit(const BatchNorm& op, const Fused& step) {
    const bool residual = step.inputs.size() == 2, training = training_;
    const AlphaAct* act = step.act >= 0 ? &std::get<AlphaAct>(e_.graph_.nodes[step.act].op) : nullptr;
    const Parameter alpha = parameter(act ? act->alpha : "", act && !act->alpha.empty());
    const Parameter gamma = parameter(step, ".weight"), beta = parameter(step, ".bias");
    const Floats running_mean = e_.tensors_.at(e_.graph_.nodes[step.batch_norm].name + ".running_mean").values;
    const Floats running_var = e_.tensors_.at(e_.graph_.nodes[step.batch_norm].name + ".running_var").values;
    const Ref x = saved(step.inputs[0]), r = residual ? saved(step.inputs[1]) : x;
    const Ref y = value(step.node), dy = gradient(step);
    const Nhwc shape = x_shape(step);
    AlignedVector<double>& sums = e_.sums_;
    sums.resize(std::max<std::size_t>(sums.size(), batch_norm_workspace(shape.c)));
    const auto mean = std::make_shared<AlignedVector<float>>(shape.c),
               rstd = std::make_shared<AlignedVector<float>>(shape.c);
    const auto tail = [=] {
      return BatchNormTail<float>{
          .residual = residual ? r() : Floats{}, .act = act, .alpha = alpha.value.empty() ? 0 : alpha.value[0]};
    };
    const auto data = into_gradient(
        step, 0,
        [=, &sums](Floats dx) {
          batch_norm_backward<float>(dx, residual ? dy() : Floats{}, alpha.gradient.data(), gamma.gradient,
                                     beta.gradient, dy(), x(), tail(), *mean, *rstd, gamma.value, beta.value, shape,
                                     sums);
        },
        true);
    const auto hand_on = residual ? hand_gradient_on(step, 1) : nullptr;
    return {.forward =
                [=, &sums] {
                  if (training)
                    batch_norm_statistics<float>(*mean, *rstd, running_mean, running_var, x(), shape, op, sums);
                  else
                    batch_norm_running<float>(*mean, *rstd, running_mean, running_var, op);
                  batch_norm_forward<float>(y(), x(), tail(), *mean, *rstd, gamma.value, beta.value, shape);
                },
            .backward = !data ? nullptr : std::function<void()>([=] {
              data();
              if (hand_on) hand_on();
            })};
  }

  Step visit(const AlphaAct& op, const Fused& step) {
    const Ref x = saved(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Parameter alpha = parameter(op.alpha, !op.alpha.empty());
    const auto a = [=] { return alpha.value.empty() ? 0 : alpha.value[0]; };
    const Nonlinearity s = op.s;
    return {.forward = [=] { alpha_act_forward<float>(y(), x(), a(), s); },
            .backward = into_gradient(
                step, 0,
                [=](Floats dx) {
                  float fixed = 0;
                  float& dalpha = alpha.gradient.empty() ? fixed : alpha.gradient[0];
                  alpha_act_backward<float>(dx, dalpha, dy(), x(), a(), s);
                },
                true)};
  }

  Step visit(const MaxPool2d& op, const Fused& step) {
    const Ref x = saved(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Nhwc shape = x_shape(step);
    return {
        .forward = [=] { max_pool2d_forward<float>(y(), x(), shape, op); },
        .backward = into_gradient(step, 0, [=](Floats dx) { max_pool2d_backward<float>(dx, dy(), x(), shape, op); })};
  }

  Step visit(const AvgPool2d& op, const Fused& step) {
    const Ref x = value(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Nhwc shape = x_shape(step);
    return {.forward = [=] { avg_pool2d_forward<float>(y(), x(), shape, op); },
            .backward = into_gradient(step, 0, [=](Floats dx) { avg_pool2d_backward<float>(dx, dy(), shape, op); })};
  }

  Step visit(const GlobalAvgPool&, const Fused& step) {
    const Ref x = value(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Nhwc shape = x_shape(step);
    return {.forward = [=] { global_avg_pool_forward<float>(y(), x(), shape); },
            .backward = into_gradient(step, 0, [=](Floats dx) { global_avg_pool_backward<float>(dx, dy(), shape); })};
  }

  Step visit(const Flatten&, const Fused& step) {
    const Ref x = value(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Nhwc shape = x_shape(step);
    return {.forward = [=] { flatten_forward<float>(y(), x(), shape); },
            .backward = into_gradient(step, 0, [=](Floats dx) { flatten_backward<float>(dx, dy(), shape); })};
  }

  Step visit(const Linear& op, const Fused& step) {
    const Ref x = saved(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Parameter weight = parameter(step, ".weight"), bias = parameter(step, ".bias", op.bias);
    const int64_t n = x_shape(step).n, in = x_shape(step).c;
    return {.forward = [=] { linear_forward<float>(y(), x(), weight.value, bias.value, n, in, op); },
            .backward = into_gradient(
                step, 0,
                [=](Floats dx) {
                  linear_backward<float>(dx, weight.gradient, bias.gradient, dy(), x(), weight.value, n, in, op);
                },
                true)};
  }

  Step visit(const Add&, const Fused& step) {
    const Ref a = value(step.inputs[0]), b = value(step.inputs[1]), y = value(step.node);
    const auto second = hand_gradient_on(step, 1), first = hand_gradient_on(step, 0);
    return {.forward = [=] { add_forward<float>(y(), a(), b()); },
            .backward =
                [=] {
                  if (second) second();
                  if (first) first();
                }};
  }

  Step visit(const Shortcut& op, const Fused& step) {
    const Ref x = value(step.inputs[0]), y = value(step.node), dy = gradient(step);
    const Nhwc shape = x_shape(step);
    return {.forward = [=] { shortcut_forward<float>(y(), x(), shape, op); },
            .backward = into_gradient(step, 0, [=](Floats dx) { shortcut_backward<float>(dx, dy(), shape, op); })};
  }

  Exec& e_;
  std::vector<Fused> steps_;
  bool training_;
  int now_ = 0;                       // the step being recorded
  std::vector<Reader> first_reader_;  // of each value, in backward order
};

Exec::Exec(const Graph& graph, Tensors& tensors, const ExecOptions& options)
    : graph_(graph), tensors_(tensors), options_(options) {
  PLEAT_CHECK(options.batch >= 1, "exec: batch is ", options.batch, ", expected at least 1");
  verify(graph, tensors);
  shapes_ = infer_shapes(graph, options.batch);
  flush_denormals();
  Recorder(*this).record();
  plan_ = plan_arena(buffers_);
  arena_.resize(plan_.total);
}

std::span<float> Exec::output_gradient() {
  PLEAT_CHECK(options_.training, "exec: built for evaluation, expected ExecOptions::training");
  return at(grads_[graph_.output()]);
}

std::span<const float> Exec::value(int node) const {
  const auto& keep = options_.keep;
  PLEAT_CHECK(std::find(keep.begin(), keep.end(), node) != keep.end(), "exec: '", graph_.nodes[node].name,
              "' is not kept");
  return at(values_[node]);
}

void Exec::backward() {
  for (auto& [name, gradient] : gradients_) std::fill(gradient.values.begin(), gradient.values.end(), 0.0f);
  tape_.backward();
}

std::string Exec::first_non_finite(const std::function<void()>& fill_output_gradient) {
  for (const auto& [name, tensor] : tensors_)
    if (!all_finite(tensor.values)) return concat("parameter '", name, "'");
  if (!all_finite(input())) return "the input";
  const auto& steps = tape_.steps();
  const auto label = [&](std::size_t s, const char* what) {
    return concat(steps[s].kind, " '", steps[s].name, "' (", what, ")");
  };
  for (std::size_t s = 0; s < steps.size(); ++s) {
    if (steps[s].forward) steps[s].forward();
    if (!all_finite(at(values_[step_nodes_[s]]))) return label(s, "forward");
  }
  fill_output_gradient();
  if (!all_finite(output_gradient())) return "the loss";
  for (auto& [name, gradient] : gradients_) std::fill(gradient.values.begin(), gradient.values.end(), 0.0f);
  for (std::size_t s = steps.size(); s-- > 0;) {
    if (steps[s].backward) steps[s].backward();
    const bool next_is_bad = s > 1 && !all_finite(at(grads_[step_nodes_[s - 1]]));
    const bool parameters_are_bad =
        std::any_of(gradients_.begin(), gradients_.end(), [](const auto& g) { return !all_finite(g.second.values); });
    if (next_is_bad || parameters_are_bad) return label(s, "backward");
  }
  return "the optimiser's step";
}

}  // namespace pleat
