#include "ops/exec/exec.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/elementwise.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/exec/recorder.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

template <class T>
bool all_finite(std::span<const T> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

std::vector<Nhwc> checked_shapes(const Graph& graph, const Tensors& tensors, int64_t batch) {
  instruction_set();  // throws if PLEAT_ISA names none that can be
  PLEAT_CHECK(batch >= 1, "exec: batch is ", batch, ", expected at least 1");
  verify(graph, tensors);
  return infer_shapes(graph, batch);
}

std::vector<int> steps_in_groups(const ExecPlan& plan) {
  std::vector<int> count(plan.groups(), 0);
  for (const PlannedStep& step : plan.steps) ++count[step.group];
  return count;
}

}  // namespace

Exec::Exec(const Graph& graph, Tensors& tensors, const ExecOptions& options)
    : graph_(graph),
      tensors_(tensors),
      options_(options),
      shapes_(checked_shapes(graph, tensors, options.batch)),
      plan_(plan_exec(graph, infer_shapes(graph),
                      {.batch = options.batch,
                       .training = options.training,
                       .bf16 = options.dtype == Dtype::bf16,
                       .piece = options.piece,
                       .keep = &options_.keep})),
      tape_(options.batch),
      memory_(options.batch, plan_.pieces, steps_in_groups(plan_)),
      buffers_(record_steps({graph_, tensors_, options_, shapes_, plan_, gradients_, memory_}, tape_)) {
  prepare_thread();
  memory_.place();
}

std::span<float> Exec::output_gradient() {
  PLEAT_CHECK(options_.training, "exec: built for evaluation, expected ExecOptions::training");
  return memory_.whole<float>(buffers_.gradients[graph_.output()]);
}

std::span<const float> Exec::value(int node) const {
  const auto& keep = options_.keep;
  PLEAT_CHECK(std::find(keep.begin(), keep.end(), node) != keep.end(), "exec: '", graph_.nodes[node].name,
              "' is not kept");
  return memory_.whole<float>(buffers_.values[node]);
}

void Exec::zero_gradients() {
  for (auto& [name, gradient] : gradients_) {
    float* const values = gradient.values.data();
    for_elements(std::ssize(gradient.values), [&](int64_t first, int64_t n) { std::fill_n(values + first, n, 0.0f); });
  }
}

void Exec::forward(StepTimes* times) const {
  if (!times) return tape_.forward([](const TapeStep&, Pass, Piece) {});
  times->start();
  tape_.forward(std::ref(*times));
}

void Exec::backward(StepTimes* times) {
  zero_gradients();
  if (!times) return tape_.backward([](const TapeStep&, Pass, Piece) {}, [](int) {});
  times->start();
  tape_.backward(std::ref(*times), [](int) {});
}

void Exec::backward(const std::function<void(int group)>& finished) {
  zero_gradients();
  tape_.backward([](const TapeStep&, Pass, Piece) {}, finished);
}

int Exec::gradient_group(const Parameter& parameter) const {
  // The first node that reads the parameter is the last to add to its gradient.
  for (const PlannedStep& step : plan_.steps)
    if (!step.statistics &&
        (step.node == parameter.node || step.batch_norm == parameter.node || step.act == parameter.node))
      return step.group;
  throw std::invalid_argument(concat("exec: no step reads '", parameter.name, "'"));
}

bool Exec::all_finite(const std::vector<int>& buffers, int node, Piece piece) const {
  if (buffers[node] < 0) return true;
  return plan_.bf16[node] ? pleat::all_finite<Bf16>(memory_.at<Bf16>(buffers[node], piece))
                          : pleat::all_finite<float>(memory_.at<float>(buffers[node], piece));
}

std::string Exec::first_non_finite(const std::function<void()>& fill_output_gradient) {
  for (const auto& [name, tensor] : tensors_)
    if (!pleat::all_finite<float>(tensor.values)) return concat("parameter '", name, "'");
  if (!pleat::all_finite<float>(input())) return "the input";
  std::string culprit;
  const auto blame = [&](const TapeStep& step, const char* pass) {
    if (culprit.empty()) culprit = concat(step.kind, " '", step.name, "' (", pass, ")");
  };
  tape_.forward([&](const TapeStep& step, Pass pass, Piece piece) {
    const PlannedStep& planned = plan_.steps[step.index];
    if (pass == Pass::forward && !planned.statistics && !all_finite(buffers_.values, planned.node, piece))
      blame(step, "forward");
  });
  if (!culprit.empty()) return culprit;
  fill_output_gradient();
  if (!pleat::all_finite<float>(output_gradient())) return "the loss";
  zero_gradients();
  tape_.backward(
      [&](const TapeStep& step, Pass pass, Piece piece) {
        bool finite = std::all_of(gradients_.begin(), gradients_.end(),
                                  [](const auto& g) { return pleat::all_finite<float>(g.second.values); });
        const PlannedStep& planned = plan_.steps[step.index];
        const bool whole_batch_only =
            planned.batch_norm >= 0 && !planned.statistics;  // adds up sums, writes no gradient
        if (pass == Pass::backward && !whole_batch_only)
          for (int input : planned.inputs) finite = finite && all_finite(buffers_.gradients, input, piece);
        if (!finite) blame(step, "backward");
      },
      [](int) {});
  return culprit.empty() ? "the optimiser's step" : culprit;
}

}  // namespace pleat
