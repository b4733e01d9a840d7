// Inverted residual blocks as steps of the engine.
#include <memory>

#include "core/check.hpp"
#include "fold/engine/steps.hpp"

namespace pleat {
namespace {

template <class T>
EngineStep make(const EngineNetwork& network, const Task& task, const BlockCut& cut) {
  const InvertedResidual block = inverted_residual(network, task);
  const Task* expand = block.expand ? &task.before.front() : nullptr;
  const Task& depthwise = task.before.back();
  const auto of = [&](const Task* part, const char* suffix) {
    return part != nullptr ? engine_parameter(network, *part, suffix) : std::span<const float>();
  };
  const InvertedResidualWeights weights{of(expand, ".weight"),   of(expand, ".bias"),  of(&depthwise, ".weight"),
                                        of(&depthwise, ".bias"), of(&task, ".weight"), of(&task, ".bias")};
  const auto kernel = std::make_shared<const InvertedResidualKernel<T>>(block, weights);
  const std::string kind =
      with_epilogue(block.expand ? "conv2d+depthwise_conv2d+conv2d" : "depthwise_conv2d+conv2d", task);
  const int from = network.graph.nodes[task.first()].inputs[0];
  const auto bind = [=, residual = task.residual, to = task.result](const Memory& m) -> Work {
    const std::span<T> x = m.span<T>(from, block.x.size()), y = m.span<T>(to, block.y.size());
    const std::span<T> other = residual >= 0 ? m.span<T>(residual, block.y.size()) : std::span<T>();
    const std::span<float> scratch(reinterpret_cast<float*>(m.scratch), kernel->scratch_size(cut));
    return [=] { (*kernel)(y, x, other, scratch, cut); };
  };
  return {task, kind, concat("pleat ", cut.rows, " rows, ", cut.chunk, " channels, ", cut.splits, " splits"),
          sizeof(float) * static_cast<std::size_t>(kernel->scratch_size(cut)), bind};
}

}  // namespace

InvertedResidual inverted_residual(const EngineNetwork& network, const Task& task) {
  const Task& depthwise = task.before.back();
  const Node& node = network.graph.nodes[depthwise.op];
  InvertedResidual block;
  block.x = network.shapes[network.graph.nodes[task.first()].inputs[0]];
  block.between = network.shapes[node.inputs[0]];
  block.y = network.shapes[task.result];
  block.depthwise = std::get<DepthwiseConv2d>(node.op);
  if (task.before.size() > 1) {
    block.expand = std::get<Conv2d>(network.graph.nodes[task.first()].op);
    block.acts[0] = engine_activation(network, task.before.front().activation);
  }
  block.acts[1] = engine_activation(network, depthwise.activation);
  block.acts[2] = engine_activation(network, task.activation);
  return block;
}

EngineStep make_block_step(const EngineNetwork& network, const Task& block, const BlockCut& cut) {
  return network.types[block.result] == Dtype::f32 ? make<float>(network, block, cut) : make<Bf16>(network, block, cut);
}

}  // namespace pleat
