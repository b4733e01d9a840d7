// Training and evaluation of a graph with the kernels of this folder. The graph is read once: every node becomes a step
// on a tape (batch norm, the add and the activation that follow it become one), every buffer gets its place in one
// arena by lifetime. After that a call allocates nothing.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/arena.hpp"
#include "core/graph.hpp"
#include "core/tape.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Whose convolutions: our own, which are the definition, or oneDNN's.
enum class Kernels { native, onednn };

struct ExecOptions {
  int64_t batch = 1;
  bool training = false;  ///< Batch statistics, and buffers kept for backward().
  Kernels kernels = Kernels::onednn;
  std::vector<int> keep = {};  ///< Nodes whose value() stays readable after forward().
};

class Exec {
 public:
  /// `graph` and `tensors` must outlive this and keep their addresses; parameters are read, and running statistics
  /// written, in place. Throws std::invalid_argument if they do not fit together.
  Exec(const Graph& graph, Tensors& tensors, const ExecOptions& options);
  Exec(const Exec&) = delete;
  Exec& operator=(const Exec&) = delete;

  std::span<float> input() { return at(values_[0]); }  ///< [batch, H, W, C], to be filled before forward().
  std::span<const float> output() const { return at(values_[graph_.output()]); }  ///< [batch, classes].
  std::span<float> output_gradient();                                             ///< To be filled before backward().
  std::span<const float> value(int node) const;                                   ///< A node in options.keep.
  const Nhwc& shape(int node) const { return shapes_[node]; }

  void forward() const { tape_.forward(); }

  /// Copies `images`, [batch, H, W, C], to the input, runs forward, returns the output.
  std::span<const float> run(std::span<const float> images) {
    std::copy(images.begin(), images.end(), input().begin());
    forward();
    return output();
  }

  void backward();  ///< Fills gradients(); forward() must have run.

  /// Gradients of the trainable parameters, by the parameters' names.
  const Tensors& gradients() const { return gradients_; }

  int64_t arena_bytes() const { return static_cast<int64_t>(arena_.size() * sizeof(float)); }

  /// Runs the step again, checking after every op, and names the first that made a NaN or Inf: for the error after a
  /// loss or gradient came out non-finite. `fill_output_gradient` is what the trainer does between the passes.
  std::string first_non_finite(const std::function<void()>& fill_output_gradient);

 private:
  class Recorder;
  std::span<float> at(int buffer) const {
    return {const_cast<float*>(arena_.data()) + plan_.offsets[buffer], static_cast<std::size_t>(buffers_[buffer].size)};
  }

  const Graph& graph_;
  Tensors& tensors_;
  ExecOptions options_;
  std::vector<Nhwc> shapes_;
  Tape tape_;
  Tensors gradients_;
  std::vector<Lifetime> buffers_;
  ArenaPlan plan_;
  AlignedVector<float> arena_;
  AlignedVector<float> workspace_;   // im2col tiles of the native convolutions
  AlignedVector<double> sums_;       // batch norm's partial sums
  std::vector<int> values_, grads_;  // node -> buffer, -1 where there is none
  std::vector<int> step_nodes_;      // step -> the node whose value it writes
};

}  // namespace pleat
