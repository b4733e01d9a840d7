// Convolutions as products, as steps of the engine.
#include <memory>

#include "core/check.hpp"
#include "fold/engine/steps.hpp"

namespace pleat {
namespace {

template <class T>
EngineStep make(const EngineNetwork& network, const Task& task, const ProductCut& cut) {
  const Node& node = network.graph.nodes[task.op];
  const ProductConv conv = product_conv(network, task);
  const auto kernel = std::make_shared<const ProductConvKernel<T>>(conv, engine_parameter(network, task, ".weight"),
                                                                   engine_parameter(network, task, ".bias"));
  const auto bind = [=, from = node.inputs[0], to = task.result](const Memory& m) -> Work {
    const std::span<T> x = m.span<T>(from, conv.x.size()), y = m.span<T>(to, conv.y.size());
    const std::span<T> scratch(reinterpret_cast<T*>(m.scratch), kernel->scratch_size(cut));
    return [=] { (*kernel)(y, x, scratch, cut); };
  };
  return {task, with_epilogue("conv2d", task), concat("pleat product ", cut.lines, " lines, ", cut.splits, " splits"),
          sizeof(T) * static_cast<std::size_t>(kernel->scratch_size(cut)), bind};
}

}  // namespace

bool is_product(const EngineNetwork& network, const Task& task) {
  const Op& op = network.graph.nodes[task.op].op;
  return std::holds_alternative<Conv2d>(op) && std::get<Conv2d>(op).groups == 1 && task.residual < 0 &&
         network.types[task.result] == network.types[0] &&
         product_conv(network, without_activation(task)).is_supported(network.types[0]);
}

ProductConv product_conv(const EngineNetwork& network, const Task& task) {
  const Node& node = network.graph.nodes[task.op];
  return {network.shapes[node.inputs[0]], network.shapes[task.op], std::get<Conv2d>(node.op),
          engine_activation(network, task.activation)};
}

EngineStep make_product_step(const EngineNetwork& network, const Task& task, const ProductCut& cut) {
  return network.types[task.result] == Dtype::f32 ? make<float>(network, task, cut) : make<Bf16>(network, task, cut);
}

}  // namespace pleat
