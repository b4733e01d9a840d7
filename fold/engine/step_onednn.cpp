#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <utility>

#include "core/check.hpp"
#include "core/onednn.hpp"
#include "core/onednn_slices.hpp"
#include "core/op_traits.hpp"
#include "core/parallel.hpp"
#include "fold/engine/steps.hpp"
#include "ops/add.hpp"
#include "ops/alpha_act.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

template <class T>
void flatten(std::span<T> y, std::span<const T> x, const Nhwc& s) {
  const int64_t plane = s.h * s.w;
  parallel_for(s.n * s.c, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t p = 0; p < plane; ++p) y[row * plane + p] = x[(row / s.c * plane + p) * s.c + row % s.c];
  });
}

/// Values put in the order a primitive likes, in memory of its own.
dnnl::memory constant(std::span<const float> values, const onednn::Desc& from, const onednn::Desc& to) {
  dnnl::memory source(from, onednn::engine(), const_cast<float*>(values.data()));
  dnnl::memory target(to, onednn::engine());
  onednn::reorder(source, target);
  return target;
}

/// A primitive for one slice of the work, ready for memory.
struct SlicePrimitive {
  dnnl::primitive primitive;
  onednn::Desc x = {}, y = {}, scratchpad = {};
  int64_t x_offset = 0, y_offset = 0;  // bytes
  std::size_t scratch_offset = 0;
  std::vector<std::pair<int, dnnl::memory>> constants = {};

  template <class Descriptor>
  void describe(const Descriptor& descriptor, const onednn::Slice& slice) {
    x = descriptor.src_desc();
    y = descriptor.dst_desc();
    scratchpad = descriptor.scratchpad_desc();
    x_offset = slice.x_offset * static_cast<int64_t>(dnnl::memory::data_type_size(onednn::type_of(x)));
    y_offset = slice.y_offset * static_cast<int64_t>(dnnl::memory::data_type_size(onednn::type_of(y)));
  }
};

/// A primitive with its arguments in the form oneDNN's C interface takes: the C++ one builds that at every call.
struct Call {
  dnnl::primitive primitive;
  std::vector<dnnl::memory> memories;  // own what `args` points at
  std::vector<dnnl_exec_arg_t> args;

  void add(int arg, const dnnl::memory& memory) {
    memories.push_back(memory);
    args.push_back({arg, memory.get()});
  }
  dnnl_status_t run() const {
    return dnnl_primitive_execute(primitive.get(), onednn::stream().get(), static_cast<int>(args.size()), args.data());
  }
};

/// Runs the calls, each on one thread. Throws std::runtime_error if one fails.
void run_all(const std::vector<Call>& calls) {
  std::atomic<dnnl_status_t> failure = dnnl_success;
  parallel_for(std::ssize(calls), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      if (const dnnl_status_t status = calls[static_cast<std::size_t>(i)].run(); status != dnnl_success)
        failure = status;
  });
  if (failure != dnnl_success)
    throw std::runtime_error(concat("oneDNN: execution failed with status ", failure.load()));
}

class Maker {
 public:
  Maker(const EngineNetwork& network, const Task& task)
      : net_(network), graph_(network.graph), task_(task), input_(graph_.nodes[task.first()].inputs[0]) {}

  /// The task's activation as a step behind the others.
  EngineStep activation_behind() {
    activation(task_.activation, task_.result);
    return std::move(steps_.front());
  }

  std::vector<EngineStep> make() {
    const Nhwc &x = net_.shapes[input_], &y = net_.shapes[task_.op];
    visit_op(Overloaded{[](const Input&) {},
                        [&](const Conv2d& op) {
                          convolution({x, y, op.kernel, op.stride, op.pad, op.groups, op.bias}, parameter(".weight"),
                                      bias(op.bias));
                        },
                        [&](const DepthwiseConv2d& op) {
                          convolution({x, y, op.kernel, op.stride, op.pad, static_cast<int>(x.c), op.bias},
                                      parameter(".weight"), bias(op.bias));
                        },
                        [&](const BorderConv2d& op) { border(op); }, [&](const BatchNorm& op) { batch_norm(op.eps); },
                        [&](const AlphaAct&) { activation(task_.op, input_); },
                        [&](const MaxPool2d& op) {
                          pooling(dnnl::algorithm::pooling_max, {op.kernel, op.kernel}, {op.stride, op.stride}, op.pad);
                        },
                        [&](const AvgPool2d& op) {
                          pooling(dnnl::algorithm::pooling_avg_include_padding, {op.kernel, op.kernel},
                                  {op.stride, op.stride}, op.pad);
                        },
                        [&](const GlobalAvgPool&) {
                          pooling(dnnl::algorithm::pooling_avg_include_padding, {x.h, x.w}, {1, 1}, {});
                        },
                        [&](const Flatten&) {
                          plain("flatten",
                                [x]<class T>(std::span<T> to, std::span<const T> from) { flatten<T>(to, from, x); });
                        },
                        [&](const Linear& op) { linear(op.bias); }, [&](const Add&) { sum(); },
                        [&](const Shortcut& op) {
                          plain("shortcut", [x, op]<class T>(std::span<T> to, std::span<const T> from) {
                            shortcut_forward<T>(to, from, x, op);
                          });
                        }},
             graph_.nodes[task_.op].op);
    return std::move(steps_);
  }

 private:
  std::span<const float> parameter(const char* suffix) const {
    return net_.tensors.at(graph_.nodes[task_.op].name + suffix).values;
  }
  std::span<const float> bias(bool present) const { return present ? parameter(".bias") : std::span<const float>(); }
  onednn::Type type(int node) const { return net_.types[node] == Dtype::f32 ? onednn::Type::f32 : onednn::Type::bf16; }
  void add(std::string kind, std::string kernel, std::size_t scratch, std::function<Work(const Memory&)> bind) {
    steps_.push_back({task_, std::move(kind), std::move(kernel), scratch, std::move(bind)});
  }

  // Our own code for values of the type that node `task_.op` has: bind<T>() gives the step's.
  template <class Bind>
  void add_typed(const char* kind, const Bind& bind) {
    if (net_.types[task_.op] == Dtype::f32)
      add(kind, "pleat", 0, bind.template operator()<float>());
    else
      add(kind, "pleat", 0, bind.template operator()<Bf16>());
  }

  // body(value, input).
  template <class Body>
  void plain(const char* kind, const Body& body) {
    const int from = input_, to = task_.op;
    const int64_t from_size = net_.shapes[from].size(), to_size = net_.shapes[to].size();
    add_typed(kind, [=]<class T>() {
      return [=](const Memory& m) -> Work {
        return [=, y = m.span<T>(to, to_size), x = std::span<const T>(m.span<T>(from, from_size))] { body(y, x); };
      };
    });
  }

  void border(const BorderConv2d& op) {
    const Nhwc x = net_.shapes[input_];
    const bool weighted = BorderGeometry(x, op).taps > 0;
    const auto bias = parameter(".bias");
    const auto weight = weighted ? parameter(".weight") : std::span<const float>();
    plain("border_conv2d",
          [x, op, weight = AlignedVector<float>(weight.begin(), weight.end()),
           bias = AlignedVector<float>(bias.begin(), bias.end())]<class T>(std::span<T> to, std::span<const T> from) {
            border_conv2d_forward<T>(to, from, weight, bias, x, op);
          });
  }

  void sum() {
    const int a = input_, b = graph_.nodes[task_.op].inputs[1], to = task_.op;
    const int64_t size = net_.shapes[to].size();
    add_typed("add", [=]<class T>() {
      return [=](const Memory& m) -> Work {
        return [=, y = m.span<T>(to, size), x = m.span<T>(a, size), other = m.span<T>(b, size)] {
          add_forward<T>(y, x, other);
        };
      };
    });
  }

  // The activation `node` of the value `from` as a pass of its own; both may share memory.
  void activation(int node, int from) {
    const std::pair<Nonlinearity, float> form = alpha_act(node);
    const Nonlinearity s = form.first;  // named apart, because clang's lambdas capture no structured bindings
    const float alpha = form.second;
    const int64_t size = net_.shapes[node].size();
    add_typed("alpha_act", [=]<class T>() {
      return [=](const Memory& m) -> Work {
        return [=, y = m.span<T>(node, size), x = m.span<T>(from, size)] { alpha_act_forward<T>(y, x, alpha, s); };
      };
    });
  }

  void convolution(const onednn::Convolution& sizes, std::span<const float> weight, std::span<const float> bias) {
    std::vector<SlicePrimitive> primitives;
    for (const onednn::Slice& slice :
         onednn::output_slices(sizes.x, sizes.y, sizes.kernel, sizes.stride, sizes.pad, num_threads())) {
      onednn::Convolution c = sizes;
      c.x = slice.x;
      c.y = slice.y;
      c.pad = slice.pad;
      add_convolution(primitives, c, slice, weight, bias);
    }
    add_activated(primitives);
  }

  /// A 1x1 convolution of one picture that has a pixel for each input. It is as fast as oneDNN's inner product, which
  /// besides asks the system for memory at every call on some machines. Threads share the inputs or, where there are
  /// fewer inputs than threads, the outputs.
  void linear(bool has_bias) {
    const int64_t inputs = net_.shapes[input_].n, in = net_.shapes[input_].c, out = net_.shapes[task_.op].c;
    const auto weight = parameter(".weight"), biases = bias(has_bias);
    constexpr int64_t kPanel = 16;  // outputs that oneDNN computes at a time
    const int threads = num_threads();
    const bool by_inputs = inputs >= threads;
    const int64_t panels = (out + kPanel - 1) / kPanel;
    const int parts = static_cast<int>(by_inputs ? threads : std::min<int64_t>(panels, threads));
    std::vector<SlicePrimitive> primitives;
    for (int64_t first = 0; first < (by_inputs ? 1 : inputs); ++first)
      for (int part = 0; part < parts; ++part) {
        Range rows = split(inputs, part, parts), outputs{0, out};
        if (!by_inputs) {
          rows = {first, first + 1};
          const Range own = split(panels, part, parts);
          outputs = {own.begin * kPanel, std::min(own.end * kPanel, out)};
        }
        const int64_t n = rows.end - rows.begin, width = outputs.end - outputs.begin;
        const onednn::Slice slice{
            {1, 1, n, in}, {1, 1, n, width}, {}, rows.begin * in, rows.begin * out + outputs.begin};
        add_convolution(primitives, {slice.x, slice.y, 1, 1, {}, 1, has_bias}, slice,
                        weight.subspan(outputs.begin * in, width * in),
                        has_bias ? biases.subspan(outputs.begin, width) : biases);
      }
    add_activated(primitives);
  }

  /// Appends the primitive of one slice. Slices that need the same weights in the same order share one packed copy.
  void add_convolution(std::vector<SlicePrimitive>& primitives, onednn::Convolution sizes, const onednn::Slice& slice,
                       std::span<const float> weight, std::span<const float> bias) {
    sizes.type = type(input_);
    sizes.y_type = type(task_.result);
    const auto descriptor = onednn::forward(sizes, dnnl::prop_kind::forward_inference, attributes());
    SlicePrimitive primitive{.primitive = dnnl::convolution_forward(descriptor)};
    primitive.describe(descriptor, slice);
    auto found = std::ranges::find_if(packed_, [&](const Packed& packed) {
      return packed.from == weight.data() && packed.weights.get_desc() == descriptor.weights_desc();
    });
    if (found == packed_.end()) {
      Packed packed{weight.data(),
                    constant(weight, onednn::weights(sizes, onednn::Type::f32, false), descriptor.weights_desc()),
                    {}};
      if (sizes.bias) packed.bias = constant(bias, onednn::bias(sizes), descriptor.bias_desc());
      found = packed_.insert(packed_.end(), packed);
    }
    const Packed& packed = *found;
    primitive.constants.emplace_back(DNNL_ARG_WEIGHTS, packed.weights);
    if (sizes.bias) primitive.constants.emplace_back(DNNL_ARG_BIAS, packed.bias);
    kernel_name_ = descriptor.impl_info_str();
    primitives.push_back(std::move(primitive));
  }

  /// The primitives as a step, and the activation as a step behind it where oneDNN cannot apply it.
  void add_activated(const std::vector<SlicePrimitive>& primitives) {
    Task task = task_;
    if (!fused_activation()) task.activation = -1;
    add_primitives(with_epilogue(pleat::kind(graph_.nodes[task_.op].op), task), primitives);
    if (task_.activation >= 0 && !fused_activation()) activation(task_.activation, task_.result);
  }

  /// What is left of batch norms after folding is a depthwise 1x1 convolution.
  void batch_norm(double eps) {
    const auto gamma = parameter(".weight"), beta = parameter(".bias");
    const auto mean = parameter(".running_mean"), var = parameter(".running_var");
    AlignedVector<float> weight(gamma.size()), bias(gamma.size());
    for (std::size_t c = 0; c < weight.size(); ++c) {
      const double scale = gamma[c] / std::sqrt(var[c] + eps);
      weight[c] = static_cast<float>(scale);
      bias[c] = static_cast<float>(beta[c] - scale * mean[c]);
    }
    const Nhwc& x = net_.shapes[task_.op];
    convolution({x, x, 1, 1, {}, static_cast<int>(x.c), true}, weight, bias);
  }

  void pooling(dnnl::algorithm algorithm, const onednn::Dims& kernel, const onednn::Dims& stride, const Padding& pad) {
    const Nhwc &x = net_.shapes[input_], &y = net_.shapes[task_.op];
    std::vector<SlicePrimitive> primitives;
    for (const onednn::Slice& slice :
         onednn::output_slices(x, y, static_cast<int>(kernel[0]), static_cast<int>(stride[0]), pad, num_threads())) {
      const auto descriptor = onednn::pooling(algorithm, slice.x, slice.y, kernel, stride, slice.pad, type(task_.op));
      SlicePrimitive& primitive =
          primitives.emplace_back(SlicePrimitive{.primitive = dnnl::pooling_forward(descriptor)});
      primitive.describe(descriptor, slice);
      kernel_name_ = descriptor.impl_info_str();
    }
    add_primitives(pleat::kind(graph_.nodes[task_.op].op), primitives);
  }

  /// The primitives as a step. Each has a place of its own in the step's scratch memory.
  void add_primitives(const std::string& kind, std::vector<SlicePrimitive> primitives) {
    constexpr std::size_t kLine = 64;
    std::size_t scratch = 0;
    for (SlicePrimitive& primitive : primitives) {
      primitive.scratch_offset = scratch;
      scratch += (primitive.scratchpad.get_size() + kLine - 1) / kLine * kLine;
    }
    const auto bind = [primitives = std::move(primitives), from = input_, to = task_.result](const Memory& m) -> Work {
      std::vector<Call> calls;
      for (const SlicePrimitive& primitive : primitives) {
        Call& call = calls.emplace_back(Call{primitive.primitive, {}, {}});
        call.add(DNNL_ARG_SRC, {primitive.x, onednn::engine(), m.values[from] + primitive.x_offset});
        call.add(DNNL_ARG_DST, {primitive.y, onednn::engine(), m.values[to] + primitive.y_offset});
        call.add(DNNL_ARG_SCRATCHPAD, {primitive.scratchpad, onednn::engine(), m.scratch + primitive.scratch_offset});
        for (const auto& [arg, memory] : primitive.constants) call.add(arg, memory);
      }
      return [calls = std::move(calls)] { run_all(calls); };
    };
    add(kind, kernel_name_, scratch, bind);
  }

  dnnl::primitive_attr attributes() const {
    dnnl::post_ops ops;
    if (task_.residual >= 0) ops.append_sum(1.0f);
    if (const auto activation = fused_activation()) onednn::append_eltwise(ops, *activation);
    dnnl::primitive_attr attr = onednn::user_scratchpad();
    attr.set_post_ops(ops);
    return attr;
  }

  /// The activation as an operation of oneDNN's. The alpha forms of ReLU and leaky ReLU are leaky ReLUs; others have no
  /// counterpart unless alpha is 0.
  std::optional<onednn::Eltwise> fused_activation() const {
    if (task_.activation < 0) return std::nullopt;
    const auto [s, alpha] = alpha_act(task_.activation);
    if (alpha == 0) return onednn::eltwise(s);
    const auto& clamp = row(s).clamp;
    if (clamp && std::isinf(clamp->limit)) return onednn::Eltwise{dnnl::algorithm::eltwise_relu, clamp->leak_at(alpha)};
    return std::nullopt;
  }

  std::pair<Nonlinearity, float> alpha_act(int node) const {
    const AlphaAct& act = std::get<AlphaAct>(graph_.nodes[node].op);
    return {act.s, act.alpha.empty() ? 0 : net_.tensors.at(act.alpha).values[0]};
  }

  const EngineNetwork& net_;
  const Graph& graph_;
  const Task& task_;
  const int input_;
  struct Packed {
    const float* from;
    dnnl::memory weights, bias;
  };
  std::vector<Packed> packed_;
  std::string kernel_name_;  // of the primitives made last
  std::vector<EngineStep> steps_;
};

}  // namespace

bool is_epilogue(const EngineNetwork& network, int node) {
  return node < 0 || row(std::get<AlphaAct>(network.graph.nodes[node].op).s).clamp.has_value();
}

Activation engine_activation(const EngineNetwork& network, int node) {
  if (node < 0) return {};
  const AlphaAct& act = std::get<AlphaAct>(network.graph.nodes[node].op);
  PLEAT_CHECK(is_epilogue(network, node), "engine: alpha_act '", network.graph.nodes[node].name, "': ", row(act.s).name,
              " is no clamp, which the kernel before it could apply");
  const LeakyClamp& clamp = *row(act.s).clamp;
  const float alpha = act.alpha.empty() ? 0 : network.tensors.at(act.alpha).values[0];
  return {clamp.leak_at(alpha), static_cast<float>(clamp.limit)};
}

EngineStep make_activation_step(const EngineNetwork& network, const Task& task) {
  return Maker(network, task).activation_behind();
}

std::span<const float> engine_parameter(const EngineNetwork& network, const Task& task, const char* suffix) {
  const auto at = network.tensors.find(network.graph.nodes[task.op].name + suffix);
  return at == network.tensors.end() ? std::span<const float>() : std::span<const float>(at->second.values);
}

std::string with_epilogue(std::string kind, const Task& task) {
  if (task.residual >= 0) kind += "+add";
  if (task.activation >= 0) kind += "+alpha_act";
  return kind;
}

std::vector<EngineStep> make_steps(const EngineNetwork& network, const Task& task) {
  return Maker(network, task).make();
}

}  // namespace pleat
