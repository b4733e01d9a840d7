// The inference engine: a model prepared for one batch size. All work that does not depend on the pictures is done at
// construction: batch norms folded away, convolutions fused with bias, residual sum and activation into one oneDNN
// primitive each, weights put in the order the primitive likes, all activations and scratch memory laid out in one
// arena. A call runs a list; Pleat allocates nothing in it.
//
//   Engine engine(load_model("net.safetensors"), 1);
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
#include "core/tensor.hpp"

namespace pleat {

class Engine {
 public:
  /// Prepares `model` (not needed afterwards) for `batch` pictures a call. Throws std::invalid_argument naming the node
  /// for a batch below 1 or a bad model, std::runtime_error if oneDNN cannot do what a node asks.
  explicit Engine(const Model& model, int64_t batch = 1);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  const Nhwc& input_shape() const;
  const Nhwc& output_shape() const;

  /// Where the pictures go, [batch, height, width, channels]. They stay across calls.
  std::span<float> input();

  /// Runs the network on the input; the output, valid until the next call.
  std::span<const float> run();

  /// What a call does, in order.
  struct Step {
    std::string name;    ///< Of the node that computes.
    std::string kind;    ///< "conv2d+add+alpha_act": the node and what is fused behind it.
    std::string kernel;  ///< oneDNN's name of the implementation, or "pleat".
    int64_t macs = 0;    ///< Of the whole batch.
  };
  const std::vector<Step>& steps() const;

  /// As run(), and adds the time of each step to `seconds`, which has one entry a step.
  std::span<const float> run(std::span<double> seconds);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pleat
