#include "fold/engine/program.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "core/check.hpp"
#include "core/onednn.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "fold/engine/choose_engine_kernel.hpp"
#include "fold/merge.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

EngineNetwork prepare(const Model& model, const EngineOptions& options) {
  instruction_set();  // throws if PLEAT_ISA names none that can be
  PLEAT_CHECK(options.batch >= 1, "engine: batch is ", options.batch, ", expected at least 1");
  PLEAT_CHECK(options.dtype == Dtype::f32 || cpu_has_bf16(),
              "engine: bf16 needs a CPU with AVX512-BF16, which this one lacks\nhint: f32 runs everywhere");
  verify(model.graph, model.tensors);
  Model folded = fold_batch_norm(model);
  EngineNetwork network{pad_explicitly(folded.graph), std::move(folded.tensors), {}, {}};
  network.shapes = infer_shapes(network.graph, options.batch);
  network.types.assign(network.shapes.size(), options.dtype);
  return network;
}

// Logits are told apart by more than bfloat16's eight bits, where the last op can give them.
void widen_output(EngineNetwork& network, const Task& last) {
  const Op& op = network.graph.nodes[last.op].op;
  const bool can = std::holds_alternative<Linear>(op) || std::holds_alternative<Conv2d>(op);
  if (can && last.residual < 0 && last.activation < 0) network.types[last.result] = Dtype::f32;
}

}  // namespace

Program make_program(const Model& model, const EngineOptions& options) {
  Program program;
  program.threads = num_threads();
  EngineNetwork& network = program.network = prepare(model, options);
  std::vector<Task> tasks = fuse(network.graph);
  if (!tasks.empty()) widen_output(network, tasks.back());

  std::optional<Tuning> tuning;
  if (options.tune) tuning.emplace(network);
  std::vector<Task> chosen;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const Node& node = network.graph.nodes[tasks[i].op];
    try {
      std::vector<EngineStep> steps = choose_steps(network, tasks, i, tuning ? &*tuning : nullptr);
      i += steps.front().task.before.size();
      chosen.push_back(steps.front().task);
      std::ranges::move(steps, std::back_inserter(program.steps));
    } catch (const dnnl::error& error) {
      throw std::runtime_error(concat(kind(node.op), " '", node.name, "': oneDNN: ", error.what()));
    }
  }

  std::vector<int64_t> floats;
  for (int node = 0; node <= network.graph.output(); ++node) floats.push_back((network.bytes(node) + 3) / 4);
  const Buffers buffers = assign_buffers(network.graph, chosen, floats);
  const ArenaPlan plan = plan_arena(buffers.lifetimes);
  for (const int buffer : buffers.of_node) program.offsets.push_back(buffer < 0 ? -1 : 4 * plan.offsets[buffer]);
  program.arena = 4 * plan.total;
  for (const EngineStep& step : program.steps)
    program.scratch = std::max(program.scratch, static_cast<int64_t>(step.scratch));
  network.tensors.clear();
  return program;
}

}  // namespace pleat
