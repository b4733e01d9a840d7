// A network is data: a static graph that training, folding, the engine and export all read.
//
// Each kind of op is a plain struct of typed attributes. Its function `fields` lists them once, for the text form, its
// parser and whoever else needs them all. What is known about a kind by yes or no stands in core/op_traits.hpp, one row
// for each; what differs more is an overload for each kind in a call of visit_op, so that a new kind does not compile
// wherever it is not yet known. Shapes, parameters and multiply-accumulates are in ops/spec.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/nonlinearity.hpp"

namespace pleat {

/// How many zeros are added on each side of a picture; the sides may differ, as in TensorFlow's SAME padding. Negative
/// values crop; only ops whose row in core/op_traits.hpp says so take them.
struct Padding {
  int top = 0, left = 0, bottom = 0, right = 0;
  static Padding uniform(int p) { return {p, p, p, p}; }
  bool operator==(const Padding&) const = default;
};

/// The network's input: normalised pictures.
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

/// Convolution. Parameters: weight [out, in/groups, kernel, kernel], and bias [out] if it has one.
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

/// Depthwise convolution: one filter for each channel. Parameters: weight [channels, 1, kernel, kernel], and bias
/// [channels] if it has one.
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

/// The correction that makes a merged convolution exact near the border, where the ops that it stands for saw zero
/// padding between them. It is added to the merged convolution, has the same window (kernel, stride, pad, groups), and
/// holds the bias of both. Output rows and columns within `ring` of a side have weights of their own, which read the
/// input within `reach` of that side. Parameters (their order is described in ops/conv/border_conv2d.hpp): weight
/// [taps, in/groups, out], a matrix for every input pixel that a position of the ring reads, unless there is none; bias
/// [rows of different bias, columns of different bias, out].
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

/// The alpha-activation s_a(x) = a*x + (1-a)*s(x). `alpha` names the parameter of shape [1] that holds a; several nodes
/// may share one. If it is empty, a is 0 and the activation cannot be folded.
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

/// Maximum over a window. Padding is never the maximum.
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

/// Mean over a window. Zeros of the padding are counted (PyTorch's count_include_pad=True), which makes it a
/// convolution.
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

/// Mean over the whole picture, for each channel: [N,H,W,C] becomes [N,1,1,C].
struct GlobalAvgPool {
  static constexpr const char* kind = "global_avg_pool";
  static constexpr int arity = 1;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  bool operator==(const GlobalAvgPool&) const = default;
};

/// [N,H,W,C] becomes [N,1,1,C*H*W], in PyTorch's order (channel, row, column), so that the weights of PyTorch's
/// classifiers fit without being rearranged.
struct Flatten {
  static constexpr const char* kind = "flatten";
  static constexpr int arity = 1;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  bool operator==(const Flatten&) const = default;
};

/// Linear layer: y = x W^T + b for x of shape [N,1,1,in]. Parameters: weight [out, in], and bias [out] if it has one.
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

/// Sum of two values of the same shape.
struct Add {
  static constexpr const char* kind = "add";
  static constexpr int arity = 2;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  bool operator==(const Add&) const = default;
};

/// A skip connection without parameters, the ResNet paper's option A (He et al. 2015, arXiv:1512.03385, section 4.2).
/// It pads the picture (or crops it, where `pad` is negative), keeps every stride-th pixel, and adds channels of zeros,
/// evenly before and after, until there are `out`. Output row i is input row i*stride - pad.top.
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
  std::string name;  ///< Unique. The node's parameters are called `name.weight` and so on.
  Op op;
  std::vector<int> inputs;  ///< Indices of earlier nodes.
  bool operator==(const Node&) const = default;
};

/// Nodes in topological order. Node 0 is the input, the last node is the output.
struct Graph {
  std::vector<Node> nodes;

  /// Appends a node and returns its index.
  int add(std::string name, Op op, std::vector<int> inputs);
  int output() const { return static_cast<int>(nodes.size()) - 1; }
  bool operator==(const Graph&) const = default;
};

/// The name of the op's kind in the text form, e.g. "conv2d".
const char* kind(const Op& op);

/// The index of the node called `name`, or -1 if there is none.
int find(const Graph& graph, const std::string& name);

/// For each node, the nodes that read it, in order. A node that reads it twice is listed twice.
std::vector<std::vector<int>> consumers(const Graph& graph);

/// The text form of a graph, with one line for each node, or of one node:
/// `conv2d layer1.0.conv1 <- stem.act : out=16 kernel=3 stride=1 pad=1 groups=1 bias=0`.
std::string to_text(const Graph& graph);
std::string to_text(const Graph& graph, int node);

/// The graph that to_text has written. Attributes that are missing have their defaults. Throws std::invalid_argument
/// with the number of the line that it does not understand, and verifies the structure.
Graph parse_graph(const std::string& text);

/// Checks the structure, without shapes and parameters: there is one input and it comes first; names are unique and of
/// printable characters without blanks; every node reads earlier nodes, as many as its kind takes; every node but the
/// last is read by another; attributes are in range. Throws std::invalid_argument that names the node.
void verify_structure(const Graph& graph);

}  // namespace pleat
