// The naive evaluator: every op as it works in evaluation, in plain loops in double precision, written to be read and
// not to be fast. Kernels, folding and the engine are tested against it, so it shares no code with them, not even shape
// inference.
#pragma once

#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"

namespace pleat::testing {

/// The parameters of an op in double; those that the op does not have are empty.
struct ReferenceParams {
  std::vector<double> weight = {}, bias = {}, running_mean = {}, running_var = {};
  double alpha = 0;
};

/// The shape of the output. For Input it is `{n, height, width, channels}` with n from `input_shapes[0]`.
Nhwc reference_shape(const Op& op, const std::vector<Nhwc>& input_shapes);

/// The output of an op, NHWC. Batch norms use their running statistics, and the padding of max pooling is never the
/// maximum.
std::vector<double> reference_forward(const Op& op, const std::vector<std::vector<double>>& inputs,
                                      const std::vector<Nhwc>& input_shapes, const ReferenceParams& params = {});

/// The parameters of node `i`, found by their names.
ReferenceParams reference_params(const Graph& graph, int i, const Tensors& tensors);

/// The values of all nodes for the `n` pictures `x`, by node index.
std::vector<std::vector<double>> reference_run(const Graph& graph, const Tensors& tensors, const std::vector<double>& x,
                                               int64_t n);

}  // namespace pleat::testing
