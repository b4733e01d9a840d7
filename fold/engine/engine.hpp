// The inference engine: a model prepared for one batch size. All work that does not depend on the pictures is done at
// construction: batch norms folded away, convolutions fused with bias, residual sum and activation, inverted residual
// blocks computed in one pass where that is faster, weights put in the order the kernels like, all activations and
// scratch memory laid out in one arena. A call runs a list; Pleat allocates nothing in it.
//
//   Engine engine(load_model("net.safetensors"));
//   std::ranges::copy(picture, engine.input().begin());  // NHWC, normalised: (pixel/255 - mean) / std
//   std::span<const float> logits = engine.run();        // [batch, classes]
//
// Threads  one engine is one thread's at a time; different engines may run on different threads at once. The thread
//          count (core/parallel.hpp) must be the same at construction and in calls.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/simd/bf16.hpp"
#include "core/tensor.hpp"

namespace pleat {

struct EngineOptions {
  int64_t batch = 1;         ///< Pictures a call.
  Dtype dtype = Dtype::f32;  ///< Of activations and weights; sums, biases and logits are float in any case.
  bool tune = true;  ///< Time alternatives at construction, remembered on this machine (ops/conv/tune_cache.hpp).
};

class Engine {
 public:
  /// Prepares `model` (not needed afterwards). Throws std::invalid_argument naming the node for a batch below 1, a bad
  /// model, or bf16 on a CPU without it; std::runtime_error if oneDNN cannot do what a node asks.
  explicit Engine(const Model& model, const EngineOptions& options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Another instance of the network: the same weights in memory, activations of its own.
  Engine share() const;

  const Nhwc& input_shape() const;
  const Nhwc& output_shape() const;

  /// Where the pictures go, [batch, height, width, channels]. They stay across calls.
  std::span<float> input();

  /// Runs the network on the input; the output, valid until the next call.
  std::span<const float> run();

  /// What a call does, in order.
  struct StepInfo {
    std::string name;    ///< Of the node that computes.
    std::string kind;    ///< "conv2d+add+alpha_act": the node and what is fused behind it.
    std::string kernel;  ///< oneDNN's name of the implementation, or "pleat".
    int64_t macs = 0;    ///< Of the whole batch.
  };
  const std::vector<StepInfo>& steps() const;

  /// As run(), and adds the time of each step to `seconds`, which has one entry a step.
  std::span<const float> run(std::span<double> seconds);

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pleat
