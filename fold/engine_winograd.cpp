// Winograd convolutions as steps of the engine.
#include <memory>

#include "core/check.hpp"
#include "fold/engine_steps.hpp"
#include "ops/winograd_pass.hpp"

namespace pleat {
namespace {

template <class T>
EngineStep make(const EngineNetwork& network, const Task& task, int tile) {
  const Node& node = network.graph.nodes[task.op];
  const Conv2d& op = std::get<Conv2d>(node.op);
  const int from = node.inputs[0];
  const Nhwc x = network.shapes[from], y = network.shapes[task.op];
  const auto pass = std::make_shared<WinogradPass<T>>(x, op, tile);
  const auto weight = std::make_shared<AlignedVector<float>>(pass->packed_size());
  pass->pack(*weight, network.tensors.at(node.name + ".weight").values);
  const AlignedVector<float> bias = op.bias ? network.tensors.at(node.name + ".bias").values : AlignedVector<float>();
  std::string kind = pleat::kind(node.op);
  if (task.residual >= 0) kind += "+add";
  if (task.activation >= 0) kind += "+alpha_act";
  const auto bind = [=, adds = task.residual >= 0, to = task.result,
                     act = engine_activation(network, task.activation)](const Memory& m) -> Work {
    const std::span<float> workspace(reinterpret_cast<float*>(m.scratch), pass->workspace_size());
    return [=, in = std::span<const T>(m.span<T>(from, x.size())), out = m.span<T>(to, y.size())] {
      (*pass)(out, in, *weight, {.bias = bias.empty() ? nullptr : bias.data(), .adds = adds, .act = act}, workspace);
    };
  };
  return {task, kind, concat("pleat winograd ", tile, "x", tile), sizeof(float) * pass->workspace_size(), bind};
}

}  // namespace

bool is_winograd(const EngineNetwork& network, const Task& task) {
  const Op& op = network.graph.nodes[task.op].op;
  if (!std::holds_alternative<Conv2d>(op) || network.types[task.result] != network.types[0]) return false;
  return WinogradPass<float>::is_supported(std::get<Conv2d>(op));
}

EngineStep make_winograd_step(const EngineNetwork& network, const Task& task, int tile) {
  return network.types[task.result] == Dtype::f32 ? make<float>(network, task, tile) : make<Bf16>(network, task, tile);
}

}  // namespace pleat
