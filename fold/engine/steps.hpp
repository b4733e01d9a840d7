// What one task of the engine becomes: work on memory that is given later, so that several instances of a network share
// the weights (private to the engine).
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"
#include "fold/engine/fused_inverted_residual.hpp"
#include "fold/engine/fusion.hpp"
#include "fold/engine/product_conv.hpp"

namespace pleat {

/// Where an instance keeps its values and what a step needs while it runs.
struct Memory {
  std::vector<std::byte*> values;  ///< By node; nullptr: never in memory.
  std::byte* scratch = nullptr;

  /// A node's value of `size` elements of type T.
  template <class T>
  std::span<T> span(int node, int64_t size) const {
    return {reinterpret_cast<T*>(values[node]), static_cast<std::size_t>(size)};
  }
};

using Work = std::function<void()>;

struct EngineStep {
  Task task;
  std::string kind;                         ///< "conv2d+add+alpha_act"
  std::string kernel;                       ///< oneDNN's name of the implementation, or "pleat ...".
  std::size_t scratch = 0;                  ///< Bytes.
  std::function<Work(const Memory&)> bind;  ///< Holds the weights; the work allocates nothing.
};

/// A network as the engine computes it, and how. Batch norms are folded away, but for those that no convolution
/// precedes.
struct EngineNetwork {
  Graph graph;
  Tensors tensors;           ///< Until the steps are made.
  std::vector<Nhwc> shapes;  ///< Of the whole batch.
  std::vector<Dtype> types;  ///< Of the nodes' values.

  /// Bytes of a node's value.
  int64_t bytes(int node) const { return shapes[node].size() * (types[node] == Dtype::f32 ? 4 : 2); }
};

/// True if kernels can apply the activation `node` to their sums: it is a clamp, or none (-1).
bool is_epilogue(const EngineNetwork& network, int node);

/// The task but for its activation, which writes to the same result.
inline Task without_activation(Task task) {
  task.activation = -1;
  return task;
}

/// The activation `node` as kernels apply it; -1 gives none. Throws std::invalid_argument unless is_epilogue.
Activation engine_activation(const EngineNetwork& network, int node);

/// A task's activation as a step of its own, which works in place on the task's result.
EngineStep make_activation_step(const EngineNetwork& network, const Task& task);

/// A parameter of the task's own op by its suffix, ".bias"; empty if it has none.
std::span<const float> engine_parameter(const EngineNetwork& network, const Task& task, const char* suffix);

/// "conv2d+add+alpha_act" of "conv2d": with what the task takes along.
std::string with_epilogue(std::string kind, const Task& task);

/// The steps of a task, one by one: usually one, two where the activation cannot be fused. Throws dnnl::error.
std::vector<EngineStep> make_steps(const EngineNetwork& network, const Task& task);

/// The tiles, of 2x2 and 4x4 outputs, by which Winograd's algorithm can compute a convolution
/// (ops/conv/winograd/winograd_pass.hpp, in bfloat16 ops/conv/winograd/winograd_bf16.hpp); none for any other task. Its
/// step with one of them.
std::vector<int> winograd_tiles(const EngineNetwork& network, const Task& task);
EngineStep make_winograd_step(const EngineNetwork& network, const Task& task, int tile);

/// True for a convolution that can be computed as a product (fold/engine/product_conv.hpp); what it is then, and its
/// step for one way to cut the work.
bool is_product(const EngineNetwork& network, const Task& task);
ProductConv product_conv(const EngineNetwork& network, const Task& task);
EngineStep make_product_step(const EngineNetwork& network, const Task& task, const ProductCut& cut);

/// The block that join_block found, and its step for one way to cut the work.
InvertedResidual inverted_residual(const EngineNetwork& network, const Task& block);
EngineStep make_block_step(const EngineNetwork& network, const Task& block, const BlockCut& cut);

}  // namespace pleat
