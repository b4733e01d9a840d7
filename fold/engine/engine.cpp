#include "fold/engine/engine.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "fold/engine/program.hpp"
#include "ops/convert.hpp"
#include "ops/spec.hpp"

namespace pleat {

class Engine::Impl {
 public:
  explicit Impl(std::shared_ptr<const Program> program)
      : program_(std::move(program)), arena_(program_->arena), scratch_(program_->scratch) {
    const EngineNetwork& net = program_->network;
    Memory memory{{}, scratch_.data()};
    for (const int64_t offset : program_->offsets)
      memory.values.push_back(offset < 0 ? nullptr : arena_.data() + offset);
    const int last = net.graph.output();
    const auto narrow = [&](int node, std::span<float>& wide, AlignedVector<float>& buffer) {
      const int64_t size = net.shapes[node].size();
      if (net.types[node] == Dtype::f32) {
        wide = memory.span<float>(node, size);
        return false;
      }
      buffer.resize(size);
      wide = buffer;
      return true;
    };
    if (narrow(0, input, input_))
      add({net.graph.nodes[0].name, "input", "pleat", 0},
          [this, to = memory.span<Bf16>(0, std::ssize(input))] { convert<Bf16, float>(to, input); });
    for (const EngineStep& step : program_->steps) add(describe(step), step.bind(memory));
    if (narrow(last, output, output_))
      add({net.graph.nodes[last].name, "output", "pleat", 0},
          [this, from = memory.span<Bf16>(last, std::ssize(output))] { convert<float, Bf16>(output, from); });
  }

  template <class AfterStep>
  void run(const AfterStep& after_step) const {
    PLEAT_CHECK(num_threads() == program_->threads, "engine: built for ", program_->threads, " threads, run with ",
                num_threads());
    prepare_thread();
    for (std::size_t i = 0; i < work_.size(); ++i) {
      work_[i]();
      after_step(i);
    }
  }

  const std::shared_ptr<const Program>& program() const { return program_; }

  std::span<float> input, output;
  std::vector<StepInfo> steps;

 private:
  void add(StepInfo info, Work work) {
    steps.push_back(std::move(info));
    work_.push_back(std::move(work));
  }

  StepInfo describe(const EngineStep& step) const {
    const EngineNetwork& net = program_->network;
    const bool computes = step.kind != "alpha_act" || step.task.activation < 0;  // not what follows the task's op
    int64_t macs = 0;
    const auto count = [&](int node) { macs += net.shapes[node].n * pleat::macs(net.graph, node, net.shapes); };
    if (computes) count(step.task.op);
    for (const Task& before : step.task.before) count(before.op);
    return {net.graph.nodes[computes ? step.task.op : step.task.activation].name, step.kind, step.kernel, macs};
  }

  std::shared_ptr<const Program> program_;
  AlignedVector<std::byte> arena_, scratch_;
  AlignedVector<float> input_, output_;  // where the network's own are bfloat16
  std::vector<Work> work_;
};

Engine::Engine(const Model& model, const EngineOptions& options) {
  prepare_thread();
  impl_ = std::make_unique<Impl>(std::make_shared<const Program>(make_program(model, options)));
}
Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Engine Engine::share() const {
  return Engine(std::make_unique<Impl>(impl_->program()));
}

const Nhwc& Engine::input_shape() const {
  return impl_->program()->network.shapes.front();
}
const Nhwc& Engine::output_shape() const {
  return impl_->program()->network.shapes.back();
}
std::span<float> Engine::input() {
  return impl_->input;
}
const std::vector<Engine::StepInfo>& Engine::steps() const {
  return impl_->steps;
}

std::span<const float> Engine::run() {
  impl_->run([](std::size_t) {});
  return impl_->output;
}

std::span<const float> Engine::run(std::span<double> seconds) {
  PLEAT_CHECK(seconds.size() == steps().size(), "engine: got ", seconds.size(), " timers, expected ", steps().size());
  auto last = Clock::now();
  impl_->run([&](std::size_t step) {
    const auto now = Clock::now();
    seconds[step] += std::chrono::duration<double>(now - last).count();
    last = now;
  });
  return impl_->output;
}

}  // namespace pleat
