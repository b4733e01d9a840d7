// The arbiter: every op in evaluation form as plain loops in double, written for reading, not for speed. Kernels, folds
// and the engine are checked against it, so it shares no code with them (not even shape inference).
#pragma once

#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat::testing {

/// An op's parameters in double; what the op does not have stays empty.
struct ReferenceParams {
  std::vector<double> weight = {}, bias = {}, running_mean = {}, running_var = {};
  double alpha = 0;
};

/// The output's shape. Input's is `{n, height, width, channels}` with n taken from `input_shapes[0]`.
Nhwc reference_shape(const Op& op, const std::vector<Nhwc>& input_shapes);

/// The op's output, NHWC. Batch norm in evaluation form; max pooling's padding never wins.
std::vector<double> reference_forward(const Op& op, const std::vector<std::vector<double>>& inputs,
                                      const std::vector<Nhwc>& input_shapes, const ReferenceParams& params = {});

/// The parameters of node `i`, looked up by name.
ReferenceParams reference_params(const Graph& graph, int i, const Tensors& tensors);

/// Every node's value for the `n` pictures `x`, by node index.
std::vector<std::vector<double>> reference_run(const Graph& graph, const Tensors& tensors, const std::vector<double>& x,
                                               int64_t n);

}  // namespace pleat::testing
