// The table of ops and shapes that every kernel is tried on, and one adapter that runs any row. A new op is a row here
// and an overload in op_cases.cpp; reference, gradient, engine and bench modes (tests/ops_test.cpp) follow.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/tensor.hpp"
#include "ops/batch_norm.hpp"
#include "ops/conv/conv2d_onednn.hpp"
#include "ops/exec/exec.hpp"

namespace pleat::testing {

struct OpCase {
  Op op;
  std::vector<Nhwc> inputs;
  // Batch norm alone. It can be fused with an activation, and with a residual: then there are two inputs.
  std::optional<AlphaAct> act = {};
  bool evaluation = false;  // running statistics; forward only
  double alpha = 0.3125;    // of an activation that has one
};

/// Small and awkward: odd sizes, strides, groups, batch 1, asymmetric padding, more than one tile.
const std::vector<OpCase>& small_cases();

/// Layers of real networks, for timing.
const std::vector<OpCase>& bench_cases();

/// `conv2d op : out=8 ... on [2, 9, 7, 6]`.
std::string describe(const OpCase& c);

/// The row as a graph of its input and itself: shapes, parameters and MACs are the library's own.
Graph graph_of(const OpCase& c);

/// An op's parameters, or their gradients; empty where the op has none.
template <class T>
struct OpParams {
  std::vector<T> weight, bias, running_mean, running_var;
  T alpha = 0;
};

/// A row with all its buffers, of the right sizes and filled with NaN, so that a test sees what a kernel leaves out.
/// forward() and backward() call the kernels and nothing else; but Bf16, where an op's output is float, is converted.
template <class T>
class OpRun {
 public:
  using C = compute_t<T>;
  explicit OpRun(const OpCase& c, Kernels kernels = Kernels::native);

  std::vector<std::vector<T>> inputs, dinputs;
  OpParams<C> params, dparams;
  std::vector<T> y, dy;

  void forward();
  void backward();  ///< After forward(). Overwrites dinputs, adds to dparams.

 private:
  template <class Body>
  void for_rows(const Body& body) const;
  BatchNormTail<T> tail(const auto& rows) const;

  const OpCase& case_;
  std::vector<C> workspace_;
  std::optional<BatchNormSaved<T>> saved_;
  std::unique_ptr<ConvKernel<T>> onednn_;
};

/// True where oneDNN has a kernel of its own for the row.
bool is_convolution(const OpCase& c);

}  // namespace pleat::testing
