#include "fold/engine.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "core/arena.hpp"
#include "core/check.hpp"
#include "core/onednn.hpp"
#include "core/parallel.hpp"
#include "fold/engine_plan.hpp"
#include "fold/merge.hpp"
#include "ops/border_conv2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

PLEAT_SIMD void add_row(float* y, const float* a, const float* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

/// y = alpha*x + (1-alpha)*min(max(x, 0), limit); y may be x.
PLEAT_SIMD void activate_row(float* y, const float* x, int64_t n, float alpha, float limit) {
  for (int64_t i = 0; i < n; ++i) y[i] = alpha * x[i] + (1 - alpha) * std::min(std::max(x[i], 0.0f), limit);
}

float limit_of(Nonlinearity s) {
  return s == Nonlinearity::relu6 ? 6.0f : INFINITY;
}

void flatten(std::span<float> y, std::span<const float> x, const Nhwc& s) {
  const int64_t plane = s.h * s.w;
  parallel_for(s.n * s.c, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t p = 0; p < plane; ++p) y[row * plane + p] = x[(row / s.c * plane + p) * s.c + row % s.c];
  });
}

/// The thread count and the denormal mode belong to the calling thread and its pool: set once for each caller.
void prepare_thread() {
  thread_local int prepared_for = 0;
  if (prepared_for == num_threads()) return;
  prepared_for = num_threads();
  omp_set_dynamic(0);
  omp_set_num_threads(prepared_for);
  flush_denormals();
}

/// Values put in the order a primitive likes, in memory of its own.
dnnl::memory constant(std::span<const float> values, const onednn::Desc& from, const onednn::Desc& to) {
  dnnl::memory source(from, onednn::engine(), const_cast<float*>(values.data()));
  dnnl::memory target(to, onednn::engine());
  onednn::reorder(source, target);
  return target;
}

/// A primitive with its arguments in the form oneDNN's C interface takes: the C++ one builds that at every call.
struct Primitive {
  dnnl::primitive primitive;
  std::vector<dnnl::memory> memories;  // own what `args` points at
  std::vector<dnnl_exec_arg_t> args;

  void add(int arg, const dnnl::memory& memory) {
    memories.push_back(memory);
    args.push_back({arg, memory.get()});
  }
  void operator()() const {
    const auto status =
        dnnl_primitive_execute(primitive.get(), onednn::stream().get(), static_cast<int>(args.size()), args.data());
    if (status != dnnl_success) throw std::runtime_error(concat("oneDNN: execution failed with status ", status));
  }
};

}  // namespace

class Engine::Impl {
 public:
  Impl(const Model& model, int64_t batch);

  std::span<float> value(int node) {
    const int buffer = buffers_.of_node[node];
    return {arena_.data() + offsets_[buffer], static_cast<std::size_t>(buffers_.lifetimes[buffer].size)};
  }
  const Nhwc& shape(int node) const { return shapes_[node]; }
  int output() const { return graph_.output(); }

  template <class AfterStep>
  void run(const AfterStep& after_step) const {
    PLEAT_CHECK(num_threads() == threads_, "engine: built for ", threads_, " threads, run with ", num_threads());
    prepare_thread();
    for (std::size_t i = 0; i < work_.size(); ++i) {
      work_[i]();
      after_step(i);
    }
  }

  std::vector<Step> steps;

 private:
  void add_task(const Task& task);
  void add_convolution(const Task& task, const onednn::Convolution& sizes, std::span<const float> weight,
                       std::span<const float> bias);
  void add_batch_norm(const Task& task, double eps);
  void add_pooling(const Task& task, dnnl::algorithm algorithm, const onednn::Dims& kernel, const onednn::Dims& stride,
                   const Padding& pad);
  void add_activation(int node, std::span<const float> x);
  void add_step(int node, std::string kind, std::string kernel, std::function<void()> work);

  template <class Descriptor>
  Primitive bind(const Task& task, const Descriptor& descriptor, const dnnl::primitive& function);
  dnnl::primitive_attr attributes(const Task& task) const;
  bool activates_in_primitive(const Task& task) const;

  int input_of(const Task& task) const { return graph_.nodes[task.op].inputs[0]; }
  std::span<const float> parameter(int node, const char* suffix) const {
    return tensors_.at(graph_.nodes[node].name + suffix).values;
  }
  std::span<const float> bias(int node, bool present) const {
    return present ? parameter(node, ".bias") : std::span<const float>();
  }
  float alpha(const AlphaAct& act) const { return act.alpha.empty() ? 0.0f : tensors_.at(act.alpha).values[0]; }

  const int threads_ = num_threads();
  Graph graph_;
  Tensors tensors_;  // until construction ends
  std::vector<Nhwc> shapes_;
  Buffers buffers_;
  std::vector<int64_t> offsets_;  // of the buffers in the arena
  AlignedVector<float> arena_;
  AlignedVector<std::byte> scratchpad_;
  std::vector<dnnl::memory> scratchpads_;  // views of it, one a primitive
  std::vector<std::function<void()>> work_;
};

Engine::Impl::Impl(const Model& model, int64_t batch) {
  PLEAT_CHECK(batch >= 1, "engine: batch is ", batch, ", expected at least 1");
  verify(model.graph, model.tensors);
  Model folded = fold_batch_norm(model);
  graph_ = pad_explicitly(folded.graph);
  tensors_ = std::move(folded.tensors);
  shapes_ = infer_shapes(graph_, batch);
  const std::vector<Task> tasks = fuse(graph_);
  buffers_ = assign_buffers(graph_, tasks, shapes_);
  ArenaPlan plan = plan_arena(buffers_.lifetimes);
  offsets_ = std::move(plan.offsets);
  arena_.assign(plan.total, 0.0f);

  prepare_thread();
  for (const Task& task : tasks) {
    const Node& node = graph_.nodes[task.op];
    try {
      add_task(task);
    } catch (const dnnl::error& error) {
      throw std::runtime_error(concat(kind(node.op), " '", node.name, "': oneDNN: ", error.what()));
    }
  }
  std::size_t scratch = 0;
  for (const dnnl::memory& m : scratchpads_) scratch = std::max(scratch, m.get_desc().get_size());
  scratchpad_.resize(scratch);
  for (dnnl::memory& m : scratchpads_) m.set_data_handle(scratchpad_.data());
  tensors_.clear();
}

void Engine::Impl::add_task(const Task& task) {
  const int node = task.op, input = input_of(task);
  const Nhwc &x = shapes_[input], &y = shapes_[node];
  std::visit(
      Overloaded{
          [](const Input&) {},
          [&](const Conv2d& op) {
            add_convolution(task, {x, y, op.kernel, op.stride, op.pad, op.groups, op.bias}, parameter(node, ".weight"),
                            bias(node, op.bias));
          },
          [&](const DepthwiseConv2d& op) {
            const int channels = static_cast<int>(x.c);
            add_convolution(task, {x, y, op.kernel, op.stride, op.pad, channels, op.bias}, parameter(node, ".weight"),
                            bias(node, op.bias));
          },
          [&](const BorderConv2d& op) {
            const std::string& name = graph_.nodes[node].name;
            add_step(node, "border_conv2d", "pleat",
                     [to = value(node), from = value(input), shape = x, op,
                      weight = BorderGeometry(x, op).taps > 0 ? tensors_.at(name + ".weight").values
                                                              : AlignedVector<float>(),
                      bias = tensors_.at(name + ".bias").values] {
                       border_conv2d_forward<float>(to, from, weight, bias, shape, op);
                     });
          },
          [&](const BatchNorm& op) { add_batch_norm(task, op.eps); },
          [&](const AlphaAct&) { add_activation(node, value(input)); },
          [&](const MaxPool2d& op) {
            add_pooling(task, dnnl::algorithm::pooling_max, {op.kernel, op.kernel}, {op.stride, op.stride}, op.pad);
          },
          [&](const AvgPool2d& op) {
            add_pooling(task, dnnl::algorithm::pooling_avg_include_padding, {op.kernel, op.kernel},
                        {op.stride, op.stride}, op.pad);
          },
          [&](const GlobalAvgPool&) {
            add_pooling(task, dnnl::algorithm::pooling_avg_include_padding, {x.h, x.w}, {1, 1}, {});
          },
          [&](const Flatten&) {
            add_step(node, "flatten", "pleat",
                     [to = value(node), from = value(input), shape = x] { flatten(to, from, shape); });
          },
          [&](const Linear& op) {
            // A 1x1 convolution of one picture with a pixel an input: as fast as oneDNN's inner product, which besides
            // asks the system for memory at every call on some machines.
            add_convolution(task, {{1, 1, x.n, x.c}, {1, 1, y.n, y.c}, 1, 1, {}, 1, op.bias},
                            parameter(node, ".weight"), bias(node, op.bias));
          },
          [&](const Add&) {
            const int other = graph_.nodes[node].inputs[1];
            add_step(node, "add", "pleat", [sum = value(node), a = value(input), b = value(other)] {
              parallel_for(std::ssize(sum), [&](int64_t begin, int64_t end, int) {
                add_row(&sum[begin], &a[begin], &b[begin], end - begin);
              });
            });
          },
          [&](const Shortcut& op) {
            add_step(node, "shortcut", "pleat", [to = value(node), from = value(input), shape = x, op] {
              shortcut_forward<float>(to, from, shape, op);
            });
          }},
      graph_.nodes[node].op);
}

void Engine::Impl::add_step(int node, std::string kind, std::string kernel, std::function<void()> work) {
  const int64_t macs = shapes_[node].n * pleat::macs(graph_, node, shapes_);
  steps.push_back({graph_.nodes[node].name, std::move(kind), std::move(kernel), macs});
  work_.push_back(std::move(work));
}

void Engine::Impl::add_convolution(const Task& task, const onednn::Convolution& sizes, std::span<const float> weight,
                                   std::span<const float> bias) {
  const auto descriptor = onednn::forward(sizes, dnnl::prop_kind::forward_inference, attributes(task));
  Primitive primitive = bind(task, descriptor, dnnl::convolution_forward(descriptor));
  primitive.add(DNNL_ARG_WEIGHTS,
                constant(weight, onednn::weights(sizes, onednn::Type::f32, false), descriptor.weights_desc()));
  if (sizes.bias) primitive.add(DNNL_ARG_BIAS, constant(bias, onednn::bias(sizes), descriptor.bias_desc()));
  std::string name = kind(graph_.nodes[task.op].op);
  if (task.residual >= 0) name += "+add";
  if (activates_in_primitive(task)) name += "+alpha_act";
  add_step(task.op, name, descriptor.impl_info_str(), std::move(primitive));
  if (task.activation >= 0 && !activates_in_primitive(task)) add_activation(task.activation, value(task.result));
}

/// What is left of batch norms after folding is a depthwise 1x1 convolution.
void Engine::Impl::add_batch_norm(const Task& task, double eps) {
  const auto gamma = parameter(task.op, ".weight"), beta = parameter(task.op, ".bias");
  const auto mean = parameter(task.op, ".running_mean"), var = parameter(task.op, ".running_var");
  AlignedVector<float> weight(gamma.size()), bias(gamma.size());
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double scale = gamma[c] / std::sqrt(var[c] + eps);
    weight[c] = static_cast<float>(scale);
    bias[c] = static_cast<float>(beta[c] - scale * mean[c]);
  }
  const Nhwc& x = shapes_[task.op];
  add_convolution(task, {x, x, 1, 1, {}, static_cast<int>(x.c), true}, weight, bias);
}

void Engine::Impl::add_pooling(const Task& task, dnnl::algorithm algorithm, const onednn::Dims& kernel,
                               const onednn::Dims& stride, const Padding& pad) {
  const auto descriptor = onednn::pooling(algorithm, shapes_[input_of(task)], shapes_[task.op], kernel, stride, pad);
  add_step(task.op, kind(graph_.nodes[task.op].op), descriptor.impl_info_str(),
           bind(task, descriptor, dnnl::pooling_forward(descriptor)));
}

/// The activation as a pass of its own; x may be the node's own value.
void Engine::Impl::add_activation(int node, std::span<const float> x) {
  const AlphaAct& act = std::get<AlphaAct>(graph_.nodes[node].op);
  add_step(node, "alpha_act", "pleat", [y = value(node), x, alpha = alpha(act), limit = limit_of(act.s)] {
    parallel_for(std::ssize(y), [&](int64_t begin, int64_t end, int) {
      activate_row(&y[begin], &x[begin], end - begin, alpha, limit);
    });
  });
}

/// The primitive with input, output and scratchpad.
template <class Descriptor>
Primitive Engine::Impl::bind(const Task& task, const Descriptor& descriptor, const dnnl::primitive& function) {
  Primitive primitive{function, {}, {}};
  primitive.add(DNNL_ARG_SRC, {descriptor.src_desc(), onednn::engine(), value(input_of(task)).data()});
  primitive.add(DNNL_ARG_DST, {descriptor.dst_desc(), onednn::engine(), value(task.result).data()});
  if (descriptor.scratchpad_desc().get_size() > 0) {
    scratchpads_.emplace_back(descriptor.scratchpad_desc(), onednn::engine(), nullptr);
    primitive.add(DNNL_ARG_SCRATCHPAD, scratchpads_.back());
  }
  return primitive;
}

/// The sum and the activation as post-ops. The sum adds to what the output's memory holds: the residual.
dnnl::primitive_attr Engine::Impl::attributes(const Task& task) const {
  dnnl::post_ops ops;
  if (task.residual >= 0) ops.append_sum(1.0f);
  if (activates_in_primitive(task)) {
    const AlphaAct& act = std::get<AlphaAct>(graph_.nodes[task.activation].op);
    switch (act.s) {
      case Nonlinearity::relu:
        onednn::append_eltwise(ops, dnnl::algorithm::eltwise_relu, alpha(act), 0);
        break;
      case Nonlinearity::relu6:
        onednn::append_eltwise(ops, dnnl::algorithm::eltwise_clip, 0, 6);
        break;
    }
  }
  dnnl::primitive_attr attr = onednn::user_scratchpad();
  attr.set_post_ops(ops);
  return attr;
}

/// ReLU's alpha form is a leaky ReLU; ReLU6's has no counterpart in oneDNN unless alpha is 0.
bool Engine::Impl::activates_in_primitive(const Task& task) const {
  if (task.activation < 0) return false;
  const AlphaAct& act = std::get<AlphaAct>(graph_.nodes[task.activation].op);
  return act.s == Nonlinearity::relu || alpha(act) == 0;
}

Engine::Engine(const Model& model, int64_t batch) : impl_(std::make_unique<Impl>(model, batch)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const Nhwc& Engine::input_shape() const {
  return impl_->shape(0);
}
const Nhwc& Engine::output_shape() const {
  return impl_->shape(impl_->output());
}
std::span<float> Engine::input() {
  return impl_->value(0);
}
const std::vector<Engine::Step>& Engine::steps() const {
  return impl_->steps;
}

std::span<const float> Engine::run() {
  impl_->run([](std::size_t) {});
  return impl_->value(impl_->output());
}

std::span<const float> Engine::run(std::span<double> seconds) {
  PLEAT_CHECK(seconds.size() == steps().size(), "engine: got ", seconds.size(), " timers, expected ", steps().size());
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  impl_->run([&](std::size_t step) {
    const auto now = Clock::now();
    seconds[step] += std::chrono::duration<double>(now - last).count();
    last = now;
  });
  return impl_->value(impl_->output());
}

}  // namespace pleat
