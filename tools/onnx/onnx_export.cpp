#include "tools/onnx/onnx_export.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/version.hpp"
#include "fold/merge.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/onnx/onnx_writer.hpp"

namespace pleat {
namespace {

// Runtimes from 2021 on can read these versions, and nothing here needs newer ones.
constexpr int kOpset = 13, kIrVersion = 7;

using Ints = std::vector<int64_t>;

Ints both(int64_t side) {
  return {side, side};
}

// The value of a node, by the names of the ONNX values that hold it. There is at least one; others are added when a
// reader needs the value in another form.
struct Value {
  std::string picture = {};  ///< [N, C, H, W]
  std::string matrix = {};   ///< [N, C], if it has one pixel.
  std::string alike = {};    ///< [1, C, H, W], a constant that is the same for every picture.
};

class Exporter {
 public:
  explicit Exporter(const Model& model)
      : model_(fold_batch_norm(model)), shapes_(infer_shapes(model_.graph)), writer_(kVersion, kOpset, kIrVersion) {}

  OnnxFile run() {
    for (int i = 0; i <= model_.graph.output(); ++i) values_.push_back(add(model_.graph.nodes[i], i));
    const Nhwc& y = shapes_.back();
    if (y.h == 1 && y.w == 1)
      writer_.output(matrix(model_.graph.output()), {y.c});
    else
      writer_.output(picture(model_.graph.output()), {y.c, y.h, y.w});
    OnnxFile file{.nodes = writer_.nodes(), .opset = kOpset};
    file.bytes = writer_.finish(metadata(model_));
    return file;
  }

 private:
  Value add(const Node& node, int index);
  Value add_convolution(const Node& node, int kernel, int stride, const Padding& pad, int64_t groups, bool bias);
  Value add_border(const Node& node, const BorderConv2d& op);
  std::string add_patch(const Node& node, const BorderConv2d& op, const BorderGeometry& g, const BorderPatch& patch);
  Value add_activation(const Node& node, const AlphaAct& op);
  Value add_pool(const Node& node, const char* op, int kernel, int stride, const Padding& pad,
                 OnnxAttributes attributes = {});
  Value add_sum(const Node& node);
  Value add_shortcut(const Node& node, const Shortcut& op);

  // The name of a node's value in the form that the reader needs; a conversion is added if necessary.
  const std::string& matrix(int node);
  const std::string& picture(int node);

  // Operators that work on both forms take the value in the form that it has, and their result has the same form.
  bool is_matrix(int node) const { return !values_[node].matrix.empty() && values_[node].picture.empty(); }
  const std::string& as_it_is(int node) { return is_matrix(node) ? matrix(node) : picture(node); }
  Value like(int node, const std::string& name) const {
    return is_matrix(node) ? Value{.matrix = name} : Value{.picture = name};
  }

  // Adds the node's parameter as a constant with the parameter's name.
  std::string parameter(const Node& node, const char* suffix) {
    const std::string name = node.name + suffix;
    const Tensor& tensor = model_.tensors.at(name);
    return writer_.constant(name, tensor.shape, tensor.values);
  }

  // Pads `value` with zeros; negative padding crops it.
  std::string pad(const std::string& name, const std::string& value, const Padding& pad, int64_t channels_before = 0,
                  int64_t channels_after = 0) {
    const std::string pads = writer_.constant(
        name + ".pads", Ints{0, channels_before, pad.top, pad.left, 0, channels_after, pad.bottom, pad.right});
    return writer_.node(name, "Pad", {value, pads});
  }

  // The padding for a Conv or pooling operator. Runtimes refuse negative padding and padding of the kernel's size or
  // more, so such padding is done by a Pad operator in front, and no padding is left for the operator itself.
  Ints window_pads(std::string& value, const std::string& name, const Padding& p, int64_t rows, int64_t columns) {
    const auto fits = [](int side, int64_t kernel) { return side >= 0 && side < kernel; };
    if (fits(p.top, rows) && fits(p.bottom, rows) && fits(p.left, columns) && fits(p.right, columns))
      return {p.top, p.left, p.bottom, p.right};
    value = pad(name + "/pad", value, p);
    return {0, 0, 0, 0};
  }

  const Model model_;
  const std::vector<Nhwc> shapes_;
  std::vector<Value> values_;  // by node
  OnnxWriter writer_;
};

Value Exporter::add(const Node& node, int index) {
  return std::visit(
      Overloaded{
          [&](const Input& op) {
            writer_.input(node.name, {op.channels, op.height, op.width});
            return Value{.picture = node.name};
          },
          [&](const Conv2d& op) { return add_convolution(node, op.kernel, op.stride, op.pad, op.groups, op.bias); },
          [&](const DepthwiseConv2d& op) {
            return add_convolution(node, op.kernel, op.stride, op.pad, shapes_[index].c, op.bias);
          },
          [&](const BorderConv2d& op) { return add_border(node, op); },
          [&](const BatchNorm& op) {
            std::vector<std::string> inputs = {as_it_is(node.inputs[0])};
            for (const char* suffix : {".weight", ".bias", ".running_mean", ".running_var"})
              inputs.push_back(parameter(node, suffix));
            return like(node.inputs[0], writer_.node(node.name, "BatchNormalization", inputs,
                                                     {{"epsilon", static_cast<float>(op.eps)}}));
          },
          [&](const AlphaAct& op) { return add_activation(node, op); },
          [&](const MaxPool2d& op) { return add_pool(node, "MaxPool", op.kernel, op.stride, op.pad); },
          [&](const AvgPool2d& op) {
            return add_pool(node, "AveragePool", op.kernel, op.stride, op.pad, {{"count_include_pad", int64_t{1}}});
          },
          [&](const GlobalAvgPool&) {
            return Value{.picture = writer_.node(node.name, "GlobalAveragePool", {picture(node.inputs[0])})};
          },
          [&](const Flatten&) {
            return Value{.matrix =
                             writer_.node(node.name, "Flatten", {as_it_is(node.inputs[0])}, {{"axis", int64_t{1}}})};
          },
          [&](const Linear& op) {
            std::vector<std::string> inputs = {matrix(node.inputs[0]), parameter(node, ".weight")};
            if (op.bias) inputs.push_back(parameter(node, ".bias"));
            return Value{.matrix = writer_.node(node.name, "Gemm", inputs, {{"transB", int64_t{1}}})};
          },
          [&](const Add&) { return add_sum(node); }, [&](const Shortcut& op) { return add_shortcut(node, op); }},
      node.op);
}

const std::string& Exporter::matrix(int node) {
  std::string& name = values_[node].matrix;
  if (name.empty())
    name = writer_.node(model_.graph.nodes[node].name + "/matrix", "Flatten", {picture(node)}, {{"axis", int64_t{1}}});
  return name;
}

const std::string& Exporter::picture(int node) {
  Value& value = values_[node];
  if (!value.picture.empty()) return value.picture;
  const std::string name = model_.graph.nodes[node].name + "/picture";
  if (!value.matrix.empty()) {
    const std::string shape = writer_.constant(name + ".shape", Ints{0, -1, 1, 1});
    return value.picture = writer_.node(name, "Reshape", {value.matrix, shape});
  }
  const std::string input = writer_.node(name + "/input", "Shape", {model_.graph.nodes[0].name});
  const std::string batch =
      writer_.node(name + "/batch", "Slice",
                   {input, writer_.constant(name + ".begin", Ints{0}), writer_.constant(name + ".end", Ints{1})});
  const std::string ones = writer_.constant(name + ".ones", Ints{1, 1, 1});
  const std::string shape = writer_.node(name + "/shape", "Concat", {batch, ones}, {{"axis", int64_t{0}}});
  return value.picture = writer_.node(name, "Expand", {value.alike, shape});
}

Value Exporter::add_convolution(const Node& node, int kernel, int stride, const Padding& p, int64_t groups, bool bias) {
  std::string x = picture(node.inputs[0]);
  const Ints pads = window_pads(x, node.name, p, kernel, kernel);
  std::vector<std::string> inputs = {x, parameter(node, ".weight")};
  if (bias) inputs.push_back(parameter(node, ".bias"));
  return {.picture = writer_.node(
              node.name, "Conv", inputs,
              {{"kernel_shape", both(kernel)}, {"strides", both(stride)}, {"pads", pads}, {"group", groups}})};
}

// A border correction is the sum of its bias, a constant of the output's size, and one convolution for each patch of
// the border, whose result is brought to its place by padding.
Value Exporter::add_border(const Node& node, const BorderConv2d& op) {
  const BorderGeometry g(shapes_[node.inputs[0]], op);
  const AlignedVector<float>& bias = model_.tensors.at(node.name + ".bias").values;
  std::vector<float> map;
  for (int64_t o = 0; o < op.out; ++o)
    for (int64_t r = 0; r < g.y.h; ++r)
      for (int64_t c = 0; c < g.y.w; ++c) map.push_back(bias[g.bias_class(r, c) * op.out + o]);
  const std::string all = writer_.constant(node.name + ".bias", {1, op.out, g.y.h, g.y.w}, map);
  std::vector<std::string> parts = {all};
  for (const BorderPatch& patch : g.patches)
    if (patch.rows.count * patch.columns.count * patch.rows.taps * patch.columns.taps > 0)
      parts.push_back(add_patch(node, op, g, patch));
  if (parts.size() == 1) return {.alike = all};
  return {.picture = writer_.node(node.name, "Sum", parts)};
}

// A patch has different weights at each of its positions. It becomes one convolution with an output channel for each
// position and output, over the band of the input that they read; then the positions are moved from the channels to
// rows and columns.
std::string Exporter::add_patch(const Node& node, const BorderConv2d& op, const BorderGeometry& g,
                                const BorderPatch& patch) {
  const BorderPart &rows = patch.rows, &columns = patch.columns;
  const int64_t in = g.x.c / op.groups, out = op.out / op.groups, sets = rows.sets * columns.sets;
  const AlignedVector<float>& from = model_.tensors.at(node.name + ".weight").values;
  std::vector<float> weight;
  for (int64_t group = 0; group < op.groups; ++group)
    for (int64_t set = 0; set < sets; ++set)
      for (int64_t o = group * out; o < (group + 1) * out; ++o)
        for (int64_t i = 0; i < in; ++i)
          for (int64_t tap = 0; tap < rows.taps * columns.taps; ++tap)
            weight.push_back(from[((patch.first_tap + set * rows.taps * columns.taps + tap) * in + i) * op.out + o]);

  const std::string name = concat(node.name, '/', &patch - g.patches.data());
  // How much the first window extends before the input, and the last window beyond its end.
  const auto margins = [](const BorderPart& part, int64_t inputs) {
    const int64_t steps = part.step > 0 ? part.count - 1 : 0;
    return std::pair(static_cast<int>(-part.start),
                     static_cast<int>(part.start + part.step * steps + part.taps - inputs));
  };
  const auto [top, bottom] = margins(rows, g.x.h);
  const auto [left, right] = margins(columns, g.x.w);
  std::string x = picture(node.inputs[0]);
  const Ints pads = window_pads(x, name, {top, left, bottom, right}, rows.taps, columns.taps);
  const int64_t row_sets = rows.sets, column_sets = columns.sets;
  const std::string sums =
      writer_.node(name + "/conv", "Conv",
                   {x, writer_.constant(name + ".weight", {sets * op.out, in, rows.taps, columns.taps}, weight)},
                   {{"kernel_shape", Ints{rows.taps, columns.taps}},
                    {"strides", Ints{std::max<int64_t>(rows.step, 1), std::max<int64_t>(columns.step, 1)}},
                    {"pads", pads},
                    {"group", int64_t{op.groups}}});
  const int64_t high = rows.count / row_sets, wide = columns.count / column_sets;
  const std::string split = writer_.node(
      name + "/split", "Reshape",
      {sums, writer_.constant(name + "/split.shape", Ints{0, op.groups, row_sets, column_sets, out, high, wide})});
  const std::string turned =
      writer_.node(name + "/turned", "Transpose", {split}, {{"perm", Ints{0, 1, 4, 2, 5, 3, 6}}});
  const std::string map =
      writer_.node(name + "/map", "Reshape",
                   {turned, writer_.constant(name + "/map.shape", Ints{0, op.out, rows.count, columns.count})});
  const auto rest = [](const BorderPart& part, int64_t outputs) {
    return static_cast<int>(outputs - part.first - part.count);
  };
  return pad(name, map,
             {static_cast<int>(rows.first), static_cast<int>(columns.first), rest(rows, g.y.h), rest(columns, g.y.w)});
}

// With ReLU, a*x + (1-a)*max(x, 0) is ONNX's LeakyRelu. With ReLU6 there is no such operator.
Value Exporter::add_activation(const Node& node, const AlphaAct& op) {
  const float alpha = op.alpha.empty() ? 0.0f : model_.tensors.at(op.alpha).values[0];
  const int input = node.inputs[0];
  const std::string& x = as_it_is(input);
  switch (op.s) {
    case Nonlinearity::relu:
      if (alpha == 0) return like(input, writer_.node(node.name, "Relu", {x}));
      return like(input, writer_.node(node.name, "LeakyRelu", {x}, {{"alpha", alpha}}));
    case Nonlinearity::relu6:
      break;
  }
  const std::string clip = alpha == 0 ? node.name : node.name + "/clip";
  writer_.node(clip, "Clip", {x, writer_.constant(clip + ".min", 0.0f), writer_.constant(clip + ".max", 6.0f)});
  if (alpha == 0) return like(input, clip);
  const auto times = [&](const char* suffix, const std::string& value, float factor) {
    const std::string name = node.name + suffix;
    return writer_.node(name, "Mul", {value, writer_.constant(name + ".factor", factor)});
  };
  return like(input, writer_.node(node.name, "Add", {times("/linear", x, alpha), times("/clipped", clip, 1 - alpha)}));
}

Value Exporter::add_pool(const Node& node, const char* op, int kernel, int stride, const Padding& p,
                         OnnxAttributes attributes) {
  std::string x = picture(node.inputs[0]);
  attributes.emplace_back("pads", window_pads(x, node.name, p, kernel, kernel));
  attributes.emplace_back("kernel_shape", both(kernel));
  attributes.emplace_back("strides", both(stride));
  return {.picture = writer_.node(node.name, op, {x}, attributes)};
}

// If one of the two values is the same for every picture and the other is not, ONNX broadcasts the first.
Value Exporter::add_sum(const Node& node) {
  const int a = node.inputs[0], b = node.inputs[1];
  if (is_matrix(a) && is_matrix(b)) return {.matrix = writer_.node(node.name, "Add", {matrix(a), matrix(b)})};
  const bool broadcast = values_[a].alike.empty() != values_[b].alike.empty();
  const auto operand = [&](int i) { return broadcast && !values_[i].alike.empty() ? values_[i].alike : picture(i); };
  return {.picture = writer_.node(node.name, "Add", {operand(a), operand(b)})};
}

Value Exporter::add_shortcut(const Node& node, const Shortcut& op) {
  std::string x = picture(node.inputs[0]);
  const int64_t channels = shapes_[node.inputs[0]].c, before = (op.out - channels) / 2;
  const int64_t after = op.out - channels - before;
  if (op.stride == 1) return {.picture = pad(node.name, x, op.pad, before, after)};
  if (op.pad != Padding{}) x = pad(node.name + "/pad", x, op.pad);
  const std::string name = after > 0 ? node.name + "/stride" : node.name;
  const auto ints = [&](const char* suffix, const Ints& values) { return writer_.constant(name + suffix, values); };
  x = writer_.node(name, "Slice",
                   {x, ints(".begin", {0, 0}), ints(".end", {INT32_MAX, INT32_MAX}), ints(".axes", {2, 3}),
                    ints(".steps", both(op.stride))});
  return {.picture = after > 0 ? pad(node.name, x, {}, before, after) : x};
}

}  // namespace

OnnxFile to_onnx(const Model& model) {
  return Exporter(model).run();
}

}  // namespace pleat
