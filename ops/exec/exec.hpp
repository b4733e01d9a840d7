// Training and evaluation of a graph with the kernels of this folder. The graph is read once: nodes become steps
// (ops/exec/plan.hpp), recorded on a tape (ops/exec/recorder.cpp) that pieces of a batch run through, and every buffer
// gets its place by lifetime (ops/exec/memory.hpp). After that a call allocates nothing.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "core/process_group.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"
#include "ops/conv/conv_kernel.hpp"
#include "ops/exec/memory.hpp"
#include "ops/exec/plan.hpp"
#include "ops/exec/step_times.hpp"
#include "ops/exec/tape.hpp"
#include "ops/spec.hpp"

namespace pleat {

struct ExecOptions {
  int64_t batch = 1;
  bool training = false;  ///< Batch statistics, and buffers kept for backward().
  Kernels kernels = Kernels::onednn;
  std::string algorithms =
      {};  ///< Letters for training_convs (ops/conv/choose_training_algorithm.hpp); empty: the usual ones.
  Dtype dtype = Dtype::f32;            ///< Of activations and of the weights they meet; parameters stay f32.
  int64_t piece = 0;                   ///< Pictures that go through the steps together; 0: as many as fit the cache.
  std::vector<int> keep = {};          ///< Nodes whose value() stays readable after forward().
  ProcessGroup* norm_ranks = nullptr;  ///< Batch norms in training take their statistics over all of these ranks'
                                       ///< pictures, which run the same steps; it must outlive the executor.
};

class Exec {
 public:
  /// `graph` and `tensors` must outlive this and keep their addresses; parameters are read, and running statistics
  /// written, in place. Throws std::invalid_argument if they do not fit together, or the CPU lacks the dtype.
  Exec(const Graph& graph, Tensors& tensors, const ExecOptions& options);
  Exec(const Exec&) = delete;
  Exec& operator=(const Exec&) = delete;

  std::span<float> input() { return memory_.whole<float>(buffers_.pictures); }  ///< [batch, H, W, C], before forward().
  std::span<const float> output() const {
    return memory_.whole<float>(buffers_.values[graph_.output()]);
  }                                                            ///< [batch, classes]
  std::span<float> output_gradient();                          ///< To be filled before backward().
  std::span<const float> value(int node) const;                ///< A node in options.keep (f32 alone).
  const Nhwc& shape(int node) const { return shapes_[node]; }  ///< For the whole batch.

  /// With `times` each step is timed.
  void forward(StepTimes* times = nullptr) const;

  /// Copies `images`, [batch, H, W, C], to the input, runs forward, returns the output.
  std::span<const float> run(std::span<const float> images) {
    std::copy(images.begin(), images.end(), input().begin());
    forward();
    return output();
  }

  void backward(StepTimes* times = nullptr);  ///< Fills gradients(); forward() must have run.

  /// Likewise, and calls finished(group) after each group of steps, from the last to the first: gradients whose group
  /// is `group` will not change any more.
  void backward(const std::function<void(int group)>& finished);
  int groups() const { return plan_.groups(); }
  /// The group that finishes the gradient of a trainable parameter.
  int gradient_group(const Parameter& parameter) const;

  /// Gradients of the trainable parameters, by the parameters' names.
  const Tensors& gradients() const { return gradients_; }
  std::span<float> gradient(const std::string& name) { return gradients_.at(name).values; }

  int64_t arena_bytes() const { return memory_.bytes(); }
  const ExecPlan& plan() const { return plan_; }

  /// Runs the step again, checking after every op, and names the first that made a NaN or Inf: for the error after a
  /// loss or gradient came out non-finite. `fill_output_gradient` is what the trainer does between the passes.
  std::string first_non_finite(const std::function<void()>& fill_output_gradient);

 private:
  bool all_finite(const std::vector<int>& buffers, int node, Piece piece) const;
  void zero_gradients();

  const Graph& graph_;
  Tensors& tensors_;
  const ExecOptions options_;
  std::vector<Nhwc> shapes_;
  const ExecPlan plan_;
  Tape tape_;
  Tensors gradients_;
  ExecMemory memory_;
  const ExecBuffers buffers_;
};

}  // namespace pleat
