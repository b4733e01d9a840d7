#include "ops/spec.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

// The most values of a parameter, and of all outputs for one picture together: far above any network, and so far below
// overflow that the product of two of them does not overflow either.
constexpr double kMaxElements = 1 << 28;

void check_size(const Node& node, const char* what, double elements) {
  PLEAT_CHECK(elements <= kMaxElements, kind(node.op), " '", node.name, "': ", what, " of ", elements,
              " elements, expected at most ", kMaxElements);
}

// The most products of one op for one picture: a minute of work.
constexpr double kMaxWork = 1LL << 38;

// How many products and sums one op needs for an output of shape `y`.
double work_of(const Node& node, const Nhwc& x, const Nhwc& y) {
  const double outputs = static_cast<double>(y.h) * static_cast<double>(y.w) * static_cast<double>(y.c);
  const auto window = [&](int kernel, double channels) { return outputs * kernel * kernel * channels; };
  return visit_op(Overloaded{
                      [&](const Conv2d& op) { return window(op.kernel, static_cast<double>(x.c) / op.groups); },
                      [&](const DepthwiseConv2d& op) { return window(op.kernel, 1); },
                      [&](const MaxPool2d& op) { return window(op.kernel, 1); },
                      [&](const AvgPool2d& op) { return window(op.kernel, 1); },
                      [&](const BorderConv2d& op) { return window(op.kernel, static_cast<double>(x.c) / op.groups); },
                      [&](const Linear&) { return window(1, static_cast<double>(x.c)); },
                      [&](const Input&) { return outputs; },
                      [&](const BatchNorm&) { return outputs; },
                      [&](const AlphaAct&) { return outputs; },
                      [&](const GlobalAvgPool&) { return outputs; },
                      [&](const Flatten&) { return outputs; },
                      [&](const Add&) { return outputs; },
                      [&](const Shortcut&) { return outputs; },
                  },
                  node.op);
}

// The output, of so many channels, of a window that slides over `x`. The window must fit.
Nhwc slide_inside(const Node& node, const Nhwc& x, int64_t channels, int kernel, int stride, const Padding& pad) {
  const int64_t height = x.h + pad.top + pad.bottom, width = x.w + pad.left + pad.right;
  PLEAT_CHECK(height >= kernel && width >= kernel, kind(node.op), " '", node.name, "': window ", kernel, "x", kernel,
              " is larger than its padded input ", height, "x", width);
  return slide(x, channels, kernel, stride, pad);
}

Nhwc conv_shape(const Node& node, const Nhwc& x, int out, int kernel, int stride, const Padding& pad, int groups) {
  PLEAT_CHECK(x.c % groups == 0 && out % groups == 0, kind(node.op), " '", node.name, "': ", groups,
              " groups, expected a divisor of ", x.c, " input and ", out, " output channels");
  return slide_inside(node, x, out, kernel, stride, pad);
}

Nhwc border_shape(const Node& node, const Nhwc& x, const BorderConv2d& op) {
  const Nhwc y = conv_shape(node, x, op.out, op.kernel, op.stride, op.pad, op.groups);
  const auto check = [&](const char* what, int64_t got, const char* of, int64_t most) {
    PLEAT_CHECK(got <= most, "border_conv2d '", node.name, "': ", what, " covers ", got, ", expected at most ", most,
                ", the ", of);
  };
  check("ring", int64_t{op.ring.top} + op.ring.bottom, "output's rows", y.h);
  check("ring", int64_t{op.ring.left} + op.ring.right, "output's columns", y.w);
  check("reach", std::max(op.reach.top, op.reach.bottom), "input's rows", x.h);
  check("reach", std::max(op.reach.left, op.reach.right), "input's columns", x.w);
  return y;
}

Nhwc output_shape(const Node& node, const Nhwc& a, const Nhwc& b, int64_t batch) {
  return visit_op(
      Overloaded{
          [&](const Input& op) {
            return Nhwc{batch, op.height, op.width, op.channels};
          },
          [&](const Conv2d& op) { return conv_shape(node, a, op.out, op.kernel, op.stride, op.pad, op.groups); },
          [&](const DepthwiseConv2d& op) { return slide_inside(node, a, a.c, op.kernel, op.stride, op.pad); },
          [&](const BorderConv2d& op) { return border_shape(node, a, op); },
          [&](const KeepsShape auto&) { return a; },
          [&](const MaxPool2d& op) {
            for (int side : {op.pad.top, op.pad.left, op.pad.bottom, op.pad.right})
              PLEAT_CHECK(side < op.kernel, "max_pool2d '", node.name, "': pad is ", side,
                          ", expected less than the kernel, ", op.kernel, ": a window must not see padding alone");
            return slide_inside(node, a, a.c, op.kernel, op.stride, op.pad);
          },
          [&](const AvgPool2d& op) { return slide_inside(node, a, a.c, op.kernel, op.stride, op.pad); },
          [&](const GlobalAvgPool&) {
            return Nhwc{a.n, 1, 1, a.c};
          },
          [&](const Flatten&) {
            return Nhwc{a.n, 1, 1, a.c * a.h * a.w};
          },
          [&](const Linear& op) {
            PLEAT_CHECK(a.h == 1 && a.w == 1, "linear '", node.name, "': input is ", to_string(a),
                        ", expected one pixel: flatten or pool first");
            return Nhwc{a.n, 1, 1, op.out};
          },
          [&](const Add&) {
            PLEAT_CHECK(a == b, "add '", node.name, "': shapes ", to_string(a), " and ", to_string(b), " differ");
            return a;
          },
          [&](const Shortcut& op) {
            PLEAT_CHECK(op.out >= a.c, "shortcut '", node.name, "': out is ", op.out, ", expected at least the ", a.c,
                        " input channels");
            return slide_inside(node, a, op.out, 1, op.stride, op.pad);
          },
      },
      node.op);
}

// The parameters that `node` reads, given its input's shape.
std::vector<Parameter> node_parameters(const Node& node, int index, const Nhwc& x) {
  const int64_t channels = x.c;
  std::vector<Parameter> all;
  const auto add = [&](const char* suffix, std::vector<int64_t> shape, Role role) {
    all.push_back({node.name + suffix, std::move(shape), role, index});
  };
  visit_op(Overloaded{
               [](const WithoutParameters auto&) {},
               [&](const Conv2d& op) {
                 add(".weight", {op.out, channels / op.groups, op.kernel, op.kernel}, Role::weight);
                 if (op.bias) add(".bias", {op.out}, Role::bias);
               },
               [&](const DepthwiseConv2d& op) {
                 add(".weight", {channels, 1, op.kernel, op.kernel}, Role::weight);
                 if (op.bias) add(".bias", {channels}, Role::bias);
               },
               [&](const BorderConv2d& op) {
                 const BorderGeometry g(x, op);
                 if (g.taps > 0) add(".weight", {g.taps, channels / op.groups, op.out}, Role::weight);
                 add(".bias", {g.row_classes, g.column_classes, op.out}, Role::bias);
               },
               [&](const BatchNorm&) {
                 add(".weight", {channels}, Role::norm_weight);
                 add(".bias", {channels}, Role::norm_bias);
                 add(".running_mean", {channels}, Role::running_mean);
                 add(".running_var", {channels}, Role::running_var);
               },
               [&](const AlphaAct& op) {
                 if (!op.alpha.empty()) all.push_back({op.alpha, {1}, Role::alpha, index});
               },
               [&](const Linear& op) {
                 add(".weight", {op.out, channels}, Role::weight);
                 if (op.bias) add(".bias", {op.out}, Role::bias);
               },
           },
           node.op);
  return all;
}

// A parameter's own stream of random numbers: a hash of its name (FNV-1a), so that its start values do not change when
// other parameters come or go.
uint64_t stream_of(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

void fill_weight(Tensor& tensor, Rng rng) {
  const std::vector<int64_t>& shape = tensor.shape;
  if (shape.size() == 4) {
    const double std = std::sqrt(2.0 / static_cast<double>(shape[0] * shape[2] * shape[3]));
    for (float& value : tensor.values) value = static_cast<float>(std * rng.normal());
  } else {
    const double bound = 1 / std::sqrt(static_cast<double>(shape[1]));
    for (float& value : tensor.values) value = static_cast<float>(bound * (2 * rng.uniform() - 1));
  }
}

}  // namespace

std::vector<Nhwc> infer_shapes(const Graph& graph, int64_t batch) {
  PLEAT_CHECK(batch >= 1, "graph: batch is ", batch, ", expected at least 1");
  verify_structure(graph);
  std::vector<Nhwc> shapes;
  double activations = 0;
  for (const Node& node : graph.nodes) {
    const auto input = [&](std::size_t i) { return i < node.inputs.size() ? shapes[node.inputs[i]] : Nhwc{}; };
    const Nhwc y = output_shape(node, input(0), input(1), batch);
    check_size(node, "an output", static_cast<double>(y.h) * static_cast<double>(y.w) * static_cast<double>(y.c));
    activations += static_cast<double>(y.h) * static_cast<double>(y.w) * static_cast<double>(y.c);
    check_size(node, "activations up to here", activations);
    const double work = work_of(node, input(0), y);
    PLEAT_CHECK(work <= kMaxWork, kind(node.op), " '", node.name, "': takes ", work,
                " multiplications a picture, expected at most ", kMaxWork);
    shapes.push_back(y);
  }
  return shapes;
}

std::vector<Parameter> parameters(const Graph& graph) {
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  std::vector<Parameter> all;
  std::map<std::string, Role> seen;
  for (int i = 0; i <= graph.output(); ++i) {
    const Node& node = graph.nodes[i];
    const Nhwc x = node.inputs.empty() ? Nhwc{} : shapes[node.inputs[0]];
    for (Parameter& parameter : node_parameters(node, i, x)) {
      double elements = 1;
      for (int64_t extent : parameter.shape) elements *= static_cast<double>(extent);
      check_size(node, "a parameter", elements);
      const auto [at, fresh] = seen.emplace(parameter.name, parameter.role);
      PLEAT_CHECK(fresh || (parameter.role == Role::alpha && at->second == Role::alpha), kind(node.op), " '", node.name,
                  "': parameter '", parameter.name, "' belongs to another node; only alphas are shared");
      if (fresh) all.push_back(std::move(parameter));
    }
  }
  return all;
}

void verify(const Graph& graph, const Tensors& tensors) {
  const std::vector<Parameter> expected = parameters(graph);
  for (const Parameter& parameter : expected) {
    const auto at = tensors.find(parameter.name);
    PLEAT_CHECK(at != tensors.end(), "parameter '", parameter.name, "' is missing, expected ",
                to_string(parameter.shape));
    const Tensor& tensor = at->second;
    PLEAT_CHECK(tensor.shape == parameter.shape, "parameter '", parameter.name, "' has shape ", to_string(tensor.shape),
                ", expected ", to_string(parameter.shape));
    PLEAT_CHECK(static_cast<int64_t>(tensor.values.size()) == num_elements(tensor.shape), "parameter '", parameter.name,
                "' has ", tensor.values.size(), " values, expected ", num_elements(tensor.shape));
  }
  if (tensors.size() == expected.size()) return;
  std::set<std::string> names;
  for (const Parameter& parameter : expected) names.insert(parameter.name);
  for (const auto& [name, tensor] : tensors)
    PLEAT_CHECK(names.contains(name), "parameter '", name, "' ", to_string(tensor.shape),
                " is left over: no node reads it");
}

Tensors initial_tensors(const Graph& graph, uint64_t seed) {
  Tensors tensors;
  for (const Parameter& parameter : parameters(graph)) {
    const bool one = parameter.role == Role::norm_weight || parameter.role == Role::running_var;
    Tensor& tensor = tensors.emplace(parameter.name, Tensor(parameter.shape, one ? 1.0f : 0.0f)).first->second;
    if (parameter.role == Role::weight) fill_weight(tensor, Rng(seed, stream_of(parameter.name)));
  }
  return tensors;
}

int64_t macs(const Graph& graph, int i, const std::vector<Nhwc>& shapes) {
  const Node& node = graph.nodes[i];
  const Nhwc& y = shapes[i];
  const int64_t outputs = y.h * y.w * y.c;
  const int64_t channels = node.inputs.empty() ? 0 : shapes[node.inputs[0]].c;
  return visit_op(Overloaded{
                      [](const Cheap auto&) { return int64_t{0}; },
                      [&](const Conv2d& op) { return outputs * (channels / op.groups) * op.kernel * op.kernel; },
                      [&](const DepthwiseConv2d& op) { return outputs * op.kernel * op.kernel; },
                      [&](const BorderConv2d& op) { return BorderGeometry(shapes[node.inputs[0]], op).macs(op); },
                      [&](const Linear&) { return outputs * channels; },
                  },
                  node.op);
}

int64_t macs(const Graph& graph) {
  parameters(graph);  // bounds the factors of each product
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  int64_t total = 0;
  for (int i = 0; i <= graph.output(); ++i) {
    total += macs(graph, i, shapes);
    PLEAT_CHECK(total < int64_t{1} << 60, "graph: more than 2^60 multiply-accumulates");
  }
  return total;
}

int64_t parameter_count(const Graph& graph) {
  int64_t count = 0;
  for (const Parameter& parameter : parameters(graph))
    if (trainable(parameter.role) && parameter.role != Role::alpha) count += num_elements(parameter.shape);
  return count;
}

int conv_count(const Graph& graph) {
  int count = 0;
  for (const Node& node : graph.nodes) count += traits(node.op).convolution;
  return count;
}

int depth(const Graph& graph) {
  std::set<std::string> alphas;
  int unnamed = 0;
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<AlphaAct>(node.op)) continue;
    const AlphaAct& act = std::get<AlphaAct>(node.op);
    if (!act.alpha.empty())
      alphas.insert(act.alpha);
    else if (row(act.s).counts_without_alpha)
      ++unnamed;
  }
  return unnamed + static_cast<int>(alphas.size()) + 1;
}

}  // namespace pleat
