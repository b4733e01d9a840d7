// What a graph's nodes mean, without any kernel: shapes, parameters, MACs, depth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/model.hpp"
#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Shape of every node's output for `batch` pictures. Throws std::invalid_argument naming the node, what it got and
/// what it needs (channels that do not divide, a window larger than its input, shapes that do not add).
std::vector<Nhwc> infer_shapes(const Graph& graph, int64_t batch = 1);

/// What a parameter is for: decides its start value and its weight decay.
enum class Role { weight, bias, norm_weight, norm_bias, running_mean, running_var, alpha };

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  Role role;
  int node;  ///< The (first) node that reads it.
};

/// Every parameter of the graph, in node order, each once.
std::vector<Parameter> parameters(const Graph& graph);

/// True for what a training step changes by gradient; running statistics are not.
inline bool trainable(Role role) {
  return role != Role::running_mean && role != Role::running_var;
}

/// Structure, shapes, and that each parameter is there with its shape and none is left over. Throws
/// std::invalid_argument naming the node or parameter. Runs after construction, loading and every rewrite.
void verify(const Graph& graph, const Tensors& tensors);

/// Parameters at their start: weights He-normal over fan-out for convolutions and uniform +-1/sqrt(fan-in) for linear
/// layers (PyTorch's ResNet recipe), biases 0, batch norm 1/0/0/1, alphas 0. Each parameter has its own stream of
/// `seed`.
Tensors initial_tensors(const Graph& graph, uint64_t seed);

/// Multiply-accumulates of one picture through node `i` (convolutions and linear layers; the rest counts nothing, as in
/// the paper), and of the whole graph.
int64_t macs(const Graph& graph, int i, const std::vector<Nhwc>& shapes);
int64_t macs(const Graph& graph);

/// Trainable elements of the graph, alphas not counted.
int64_t parameter_count(const Graph& graph);

/// Convolutions in the graph, depthwise ones included.
int conv_count(const Graph& graph);

/// The paper's depth: remaining activations + 1. As there, activations that share an alpha count once (a block of
/// MobileNetV2), and ReLU6s without one not at all: networks of those are counted by their blocks, without the stem and
/// the head; ResNet's stem, a ReLU, does count.
int depth(const Graph& graph);

}  // namespace pleat
