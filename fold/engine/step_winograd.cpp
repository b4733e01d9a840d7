// Winograd convolutions as steps of the engine.
#include <memory>

#include "core/check.hpp"
#include "fold/engine/steps.hpp"
#include "ops/conv/winograd/winograd_bf16.hpp"
#include "ops/conv/winograd/winograd_pass.hpp"

namespace pleat {
namespace {

// Activations are of type T; `pass` transforms weights to Points.
template <class T, class Point, class Pass>
EngineStep make(const EngineNetwork& network, const Task& task, int tile, const std::shared_ptr<const Pass>& pass) {
  const Node& node = network.graph.nodes[task.op];
  const Nhwc x = network.shapes[node.inputs[0]], y = network.shapes[task.op];
  const auto weight = std::make_shared<AlignedVector<Point>>(pass->packed_size());
  pass->pack(*weight, engine_parameter(network, task, ".weight"));
  const std::span<const float> values = engine_parameter(network, task, ".bias");
  const AlignedVector<float> bias(values.begin(), values.end());
  const std::string kind = with_epilogue("conv2d", task);
  const auto bind = [=, from = node.inputs[0], adds = task.residual >= 0, to = task.result,
                     act = engine_activation(network, task.activation)](const Memory& m) -> Work {
    const std::span<float> workspace(reinterpret_cast<float*>(m.scratch), pass->workspace_size());
    return [=, in = std::span<const T>(m.span<T>(from, x.size())), out = m.span<T>(to, y.size())] {
      (*pass)(out, in, *weight, {.bias = bias.empty() ? nullptr : bias.data(), .adds = adds, .act = act}, workspace);
    };
  };
  return {task, kind, concat("pleat winograd ", tile, "x", tile), sizeof(float) * pass->workspace_size(), bind};
}

}  // namespace

std::vector<int> winograd_tiles(const EngineNetwork& network, const Task& task) {
  const Node& node = network.graph.nodes[task.op];
  if (!std::holds_alternative<Conv2d>(node.op) || network.types[task.result] != network.types[0]) return {};
  const Conv2d& op = std::get<Conv2d>(node.op);
  if (network.types[task.result] == Dtype::bf16) {
    const bool is_supported = WinogradBf16::is_supported(network.shapes[node.inputs[0]], op);
    return is_supported ? std::vector{2} : std::vector<int>();
  }
  return WinogradPass<float>::is_supported(op) ? std::vector{2, 4} : std::vector<int>();
}

EngineStep make_winograd_step(const EngineNetwork& network, const Task& task, int tile) {
  const Node& node = network.graph.nodes[task.op];
  const Conv2d& op = std::get<Conv2d>(node.op);
  const Nhwc& x = network.shapes[node.inputs[0]];
  if (network.types[task.result] == Dtype::f32)
    return make<float, float>(network, task, tile, std::make_shared<const WinogradPass<float>>(x, op, tile));
  return make<Bf16, Bf16>(network, task, tile, std::make_shared<const WinogradBf16>(x, op));
}

}  // namespace pleat
