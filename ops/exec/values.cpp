#include "ops/exec/values.hpp"

#include "ops/exec/stored_values.hpp"

namespace pleat {

ExecValues::ExecValues(const ExecParts& parts) : parts_(parts) {
  buffers_.values.assign(parts_.graph.nodes.size(), -1);
  buffers_.gradients.assign(parts_.graph.nodes.size(), -1);
  buffers_.pictures = parts_.memory.add<float>(picture_size(0));
  for (const PlannedStep& step : steps())
    if (!step.statistics)
      buffers_.values[step.node] = step.node == 0 && !bf16(0) ? buffers_.pictures : new_buffer(step.node);
  if (training()) place_gradients();
}

void ExecValues::use_values(const Op& op, const PlannedStep& step) {
  const auto pass_over = [&](decltype(BufferUse::forward) pass) {
    if (!step.statistics) use(step, buffers_.values[step.node], pass);
    for (int input : step.inputs) use(step, buffers_.values[input], pass);
  };
  pass_over(BufferUse::forward);
  if (recomputed(step)) {
    pass_over(BufferUse::recompute);
    parts_.memory.expect_recomputed(buffers_.values[step.node]);
  }
  if (!training()) return;
  if (backward_reads_inputs(op))
    for (int input : step.inputs) use(step, buffers_.values[input], BufferUse::backward);
  if (!step.statistics && buffers_.gradients[step.node] >= 0)
    use(step, buffers_.gradients[step.node], BufferUse::backward);
}

void ExecValues::place_gradients() {
  buffers_.gradients[parts_.graph.output()] = new_buffer(parts_.graph.output());
  first_reader_.resize(parts_.graph.nodes.size());
  for (int s = static_cast<int>(steps().size()) - 1; s >= 0; --s) {
    const PlannedStep& step = steps()[s];
    const bool batch_norm = step.batch_norm >= 0 && !step.statistics;
    const bool add = std::holds_alternative<Add>(parts_.graph.nodes[step.node].op) && !batch_norm;
    for (int k = batch_norm ? 1 : 0; k < std::ssize(step.inputs); ++k) {
      const int node = step.inputs[k];
      if (node == 0 || buffers_.gradients[node] >= 0) continue;  // nobody needs the gradient of the pictures
      const bool hand_on = batch_norm ? can_hand_to_residual(s) : add && k == 0;
      buffers_.gradients[node] = hand_on ? buffers_.gradients[step.node] : new_buffer(node);
      first_reader_[node] = {s, k, hand_on};
    }
  }
}

// The gradient behind a batch norm is read once more when its statistics' step comes, later in backward order: in
// between nobody may write to the residual's gradient if that is to be the same buffer.
bool ExecValues::can_hand_to_residual(int s) const {
  const int residual = steps()[s].inputs[1];
  for (int between = s - 1; !(steps()[between].statistics && steps()[between].batch_norm == steps()[s].batch_norm);
       --between) {
    const auto& inputs = steps()[between].inputs;
    if (steps()[between].node == residual || std::find(inputs.begin(), inputs.end(), residual) != inputs.end())
      return false;
  }
  return true;
}

}  // namespace pleat
