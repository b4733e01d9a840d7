// What can be said of a graph's nodes without any kernel: shapes, parameters, multiply-accumulates (MACs), depth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/model.hpp"
#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// The shape of every node's output for `batch` pictures. Throws std::invalid_argument that names the node, what it got
/// and what it needs: channels that the groups do not divide, a window larger than its input, shapes that do not add.
std::vector<Nhwc> infer_shapes(const Graph& graph, int64_t batch = 1);

/// What a parameter is for, which decides its start value and its weight decay.
enum class Role { weight, bias, norm_weight, norm_bias, running_mean, running_var, alpha };

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  Role role;
  int node;  ///< The (first) node that reads it.
};

/// All parameters of the graph in the order of its nodes, each once.
std::vector<Parameter> parameters(const Graph& graph);

/// True for parameters that a training step changes by their gradient; running statistics have none.
inline bool trainable(Role role) {
  return role != Role::running_mean && role != Role::running_var;
}

/// Checks structure and shapes, that each parameter is there with its shape, and that none is left over. Throws
/// std::invalid_argument that names the node or parameter. It runs after construction, loading and every rewrite.
void verify(const Graph& graph, const Tensors& tensors);

/// Parameters at their start, as in PyTorch's ResNet recipe: the weights of convolutions He-normal over fan-out, those
/// of linear layers uniform in +-1/sqrt(fan-in), biases 0, batch norms 1, 0, 0 and 1 (weight, bias, mean, variance),
/// and alphas 0. Each parameter has a random stream of its own, from `seed` and its name.
Tensors initial_tensors(const Graph& graph, uint64_t seed);

/// Multiply-accumulates for one picture, of node `i` and of the whole graph. As in the paper, only convolutions and
/// linear layers count.
int64_t macs(const Graph& graph, int i, const std::vector<Nhwc>& shapes);
int64_t macs(const Graph& graph);

/// The number of trainable values, alphas excepted.
int64_t parameter_count(const Graph& graph);

/// The number of convolutions, depthwise ones included.
int conv_count(const Graph& graph);

/// The paper's depth: the number of remaining activations, plus 1. As there, activations that share an alpha count once
/// (a block of MobileNetV2), and ReLU6s without an alpha do not count: networks of those are counted by their blocks,
/// without stem and head. All other nonlinearities count even without an alpha, like the ReLU of ResNet's stem.
int depth(const Graph& graph);

}  // namespace pleat
