// A network is data: a static graph that training, folding, the engine and export all read.
//
// Each kind of op is a plain struct of typed attributes. `fields` lists them once; the text form, its parser and every
// exporter go through it. Consumers are std::visit with one overload a kind, so that a new kind fails to compile
// wherever it must be known. Shapes, parameters and MACs: ops/spec.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace pleat {

/// Zeros added on each side of a picture (TensorFlow's SAME padding is asymmetric). Negative values crop; only
/// Shortcut and BorderConv2d take those.
struct Padding {
  int top = 0, left = 0, bottom = 0, right = 0;
  static Padding uniform(int p) { return {p, p, p, p}; }
  bool operator==(const Padding&) const = default;
};

/// The pictures, normalised.
struct Input {
  static constexpr const char* kind = "input";
  static constexpr int arity = 0;
  int channels = 0, height = 0, width = 0;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("channels", s.channels), f("height", s.height), f("width", s.width);
  }
  bool operator==(const Input&) const = default;
};

/// Convolution. Parameters: weight [out, in/groups, kernel, kernel], bias [out] if any.
struct Conv2d {
  static constexpr const char* kind = "conv2d";
  static constexpr int arity = 1;
  int out = 0, kernel = 1, stride = 1;
  Padding pad = {};
  int groups = 1;
  bool bias = false;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("out", s.out), f("kernel", s.kernel), f("stride", s.stride), f("pad", s.pad), f("groups", s.groups),
        f("bias", s.bias);
  }
  bool operator==(const Conv2d&) const = default;
};

/// One filter a channel. Parameters: weight [channels, 1, kernel, kernel], bias [channels] if any.
struct DepthwiseConv2d {
  static constexpr const char* kind = "depthwise_conv2d";
  static constexpr int arity = 1;
  int kernel = 1, stride = 1;
  Padding pad = {};
  bool bias = false;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("kernel", s.kernel), f("stride", s.stride), f("pad", s.pad), f("bias", s.bias);
  }
  bool operator==(const DepthwiseConv2d&) const = default;
};

/// What zero padding between the ops that a merged convolution stands for changes near the border: a correction to be
/// added to the convolution, whose window (kernel, stride, pad, groups) and bias it has. Output rows and columns within
/// `ring` of a side have weights of their own, which read the input within `reach` of that side. Parameters, in
/// ops/conv/border_conv2d.hpp: weight [taps, in/groups, out], a matrix for every input pixel that a position of the
/// ring reads, if any; bias [rows of different bias, columns of different bias, out].
struct BorderConv2d {
  static constexpr const char* kind = "border_conv2d";
  static constexpr int arity = 1;
  int out = 0, kernel = 1, stride = 1;
  Padding pad = {};
  int groups = 1;
  Padding ring = {}, reach = {};
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("out", s.out), f("kernel", s.kernel), f("stride", s.stride), f("pad", s.pad), f("groups", s.groups),
        f("ring", s.ring), f("reach", s.reach);
  }
  bool operator==(const BorderConv2d&) const = default;
};

/// Batch normalisation. Parameters: weight, bias, running_mean, running_var, each [channels].
struct BatchNorm {
  static constexpr const char* kind = "batch_norm";
  static constexpr int arity = 1;
  double eps = 1e-5, momentum = 0.1;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("eps", s.eps), f("momentum", s.momentum);
  }
  bool operator==(const BatchNorm&) const = default;
};

enum class Nonlinearity { relu, relu6 };

/// s_a(x) = a*x + (1-a)*s(x). `alpha` names the parameter [1] that holds a (several nodes may share one); empty: the
/// activation is not foldable and a = 0.
struct AlphaAct {
  static constexpr const char* kind = "alpha_act";
  static constexpr int arity = 1;
  Nonlinearity s = Nonlinearity::relu;
  std::string alpha = {};
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("s", self.s), f("alpha", self.alpha);
  }
  bool operator==(const AlphaAct&) const = default;
};

/// Maximum over a window; padding never wins.
struct MaxPool2d {
  static constexpr const char* kind = "max_pool2d";
  static constexpr int arity = 1;
  int kernel = 2, stride = 2;
  Padding pad = {};
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("kernel", s.kernel), f("stride", s.stride), f("pad", s.pad);
  }
  bool operator==(const MaxPool2d&) const = default;
};

/// Mean over a window, padding counted (PyTorch's count_include_pad=True), so that it is a convolution.
struct AvgPool2d {
  static constexpr const char* kind = "avg_pool2d";
  static constexpr int arity = 1;
  int kernel = 2, stride = 2;
  Padding pad = {};
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("kernel", s.kernel), f("stride", s.stride), f("pad", s.pad);
  }
  bool operator==(const AvgPool2d&) const = default;
};

/// Mean over the whole picture: [N,H,W,C] to [N,1,1,C].
struct GlobalAvgPool {
  static constexpr const char* kind = "global_avg_pool";
  static constexpr int arity = 1;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  bool operator==(const GlobalAvgPool&) const = default;
};

/// [N,H,W,C] to [N,1,1,C*H*W], in PyTorch's order (channel, row, column), so that its classifiers load by name.
struct Flatten {
  static constexpr const char* kind = "flatten";
  static constexpr int arity = 1;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  bool operator==(const Flatten&) const = default;
};

/// y = x W^T + b on [N,1,1,in]. Parameters: weight [out, in], bias [out] if any.
struct Linear {
  static constexpr const char* kind = "linear";
  static constexpr int arity = 1;
  int out = 0;
  bool bias = true;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("out", s.out), f("bias", s.bias);
  }
  bool operator==(const Linear&) const = default;
};

/// Sum of two activations of the same shape.
struct Add {
  static constexpr const char* kind = "add";
  static constexpr int arity = 2;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  bool operator==(const Add&) const = default;
};

/// A skip without parameters: pads (or, negative, crops), keeps every stride-th pixel, and adds zero channels evenly
/// before and after up to `out`: the ResNet paper's option A (He et al. 2015, arXiv:1512.03385, section 4.2). Padding a
/// 1x1 window: output row i is input row i*stride - top.
struct Shortcut {
  static constexpr const char* kind = "shortcut";
  static constexpr int arity = 1;
  int out = 0, stride = 1;
  Padding pad = {};
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("out", s.out), f("stride", s.stride), f("pad", s.pad);
  }
  bool operator==(const Shortcut&) const = default;
};

using Op = std::variant<Input, Conv2d, DepthwiseConv2d, BorderConv2d, BatchNorm, AlphaAct, MaxPool2d, AvgPool2d,
                        GlobalAvgPool, Flatten, Linear, Add, Shortcut>;

/// Joins lambdas into one visitor.
template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;  // clang before 17 does not deduce it by itself

struct Node {
  std::string name;  ///< Unique; parameters are `name.weight` and so on.
  Op op;
  std::vector<int> inputs;  ///< Indices of earlier nodes.
  bool operator==(const Node&) const = default;
};

/// Nodes in topological order; node 0 is the input, the last node is the output.
struct Graph {
  std::vector<Node> nodes;

  /// Appends a node and returns its index.
  int add(std::string name, Op op, std::vector<int> inputs);
  int output() const { return static_cast<int>(nodes.size()) - 1; }
  bool operator==(const Graph&) const = default;
};

/// The op's name as in the text form, e.g. "conv2d".
const char* kind(const Op& op);

/// Index of the node called `name`, or -1.
int find(const Graph& graph, const std::string& name);

/// For each node, the nodes that read it, in order (a node that reads it twice stands twice).
std::vector<std::vector<int>> consumers(const Graph& graph);

/// One node a line: `conv2d layer1.0.conv1 <- stem.act : out=16 kernel=3 stride=1 pad=1 groups=1 bias=0`.
std::string to_text(const Graph& graph);
std::string to_text(const Graph& graph, int node);

/// The inverse of to_text. Throws std::invalid_argument with the line's number for anything else, and verifies
/// structure.
Graph parse_graph(const std::string& text);

/// Structure alone: one input, first; unique names of printable characters without blanks; every input earlier; arity;
/// every node but the last read by another; attributes in range. Throws std::invalid_argument naming the node.
void verify_structure(const Graph& graph);

}  // namespace pleat
