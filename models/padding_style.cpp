#include "models/padding_style.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "ops/spec.hpp"

namespace pleat {

void set_padding(Graph& graph, PaddingStyle style) {
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  for (Node& node : graph.nodes) {
    const auto pad = [&](auto& op) {
      if (style == PaddingStyle::symmetric) {
        op.pad = Padding::uniform((op.kernel - 1) / 2);
        return;
      }
      const Nhwc& x = shapes[node.inputs[0]];
      const auto total = [&](int64_t size) {
        const int64_t outputs = (size + op.stride - 1) / op.stride;
        return static_cast<int>(std::max<int64_t>((outputs - 1) * op.stride + op.kernel - size, 0));
      };
      const int rows = total(x.h), columns = total(x.w);
      op.pad = {rows / 2, columns / 2, rows - rows / 2, columns - columns / 2};
    };
    std::visit(Overloaded{[&](Conv2d& op) { pad(op); }, [&](DepthwiseConv2d& op) { pad(op); },
                          [&](MaxPool2d& op) { pad(op); }, [&](AvgPool2d& op) { pad(op); }, [](Input&) {},
                          [](BorderConv2d&) {}, [](BatchNorm&) {}, [](AlphaAct&) {}, [](GlobalAvgPool&) {},
                          [](Flatten&) {}, [](Linear&) {}, [](Add&) {}, [](Shortcut&) {}},
               node.op);
  }
  PLEAT_CHECK(infer_shapes(graph) == shapes,
              "padding: the other padding style would change the shapes of this network");
}

}  // namespace pleat
