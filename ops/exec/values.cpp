#include "ops/exec/values.hpp"

#include "core/op_traits.hpp"

namespace pleat {

ExecValues::ExecValues(Exec& exec) : e_(exec), steps_(exec.plan_.steps), training_(exec.options_.training) {
  e_.values_.assign(e_.graph_.nodes.size(), -1);
  e_.grads_.assign(e_.graph_.nodes.size(), -1);
  e_.pictures_ = e_.memory_.add<float>(picture(0));
  for (const PlannedStep& step : steps_)
    if (!step.statistics) e_.values_[step.node] = step.node == 0 && !bf16(0) ? e_.pictures_ : new_buffer(step.node);
  if (training_) place_gradients();
}

void ExecValues::use_values(const Op& op, const PlannedStep& step) {
  const auto pass_over = [&](decltype(BufferUse::forward) pass) {
    if (!step.statistics) use(e_.values_[step.node], pass);
    for (int input : step.inputs) use(e_.values_[input], pass);
  };
  pass_over(BufferUse::forward);
  if (recomputed(step)) {
    pass_over(BufferUse::recompute);
    e_.memory_.expect_recomputed(e_.values_[step.node]);
  }
  if (!training_) return;
  if (traits(op).backward_reads_inputs)
    for (int input : step.inputs) use(e_.values_[input], BufferUse::backward);
  if (!step.statistics && e_.grads_[step.node] >= 0) use(e_.grads_[step.node], BufferUse::backward);
}

void ExecValues::place_gradients() {
  e_.grads_[e_.graph_.output()] = new_buffer(e_.graph_.output());
  first_reader_.resize(e_.graph_.nodes.size());
  for (int s = static_cast<int>(steps_.size()) - 1; s >= 0; --s) {
    const PlannedStep& step = steps_[s];
    const bool batch_norm = step.batch_norm >= 0 && !step.statistics;
    const bool add = std::holds_alternative<Add>(e_.graph_.nodes[step.node].op) && !batch_norm;
    for (int k = batch_norm ? 1 : 0; k < std::ssize(step.inputs); ++k) {
      const int node = step.inputs[k];
      if (node == 0 || e_.grads_[node] >= 0) continue;  // nobody needs the gradient of the pictures
      const bool hand_on = batch_norm ? can_hand_to_residual(s) : add && k == 0;
      e_.grads_[node] = hand_on ? e_.grads_[step.node] : new_buffer(node);
      first_reader_[node] = {s, k, hand_on};
    }
  }
}

// The gradient behind a batch norm is read once more when its statistics' step comes, later in backward order: in
// between nobody may write to the residual's gradient if that is to be the same buffer.
bool ExecValues::can_hand_to_residual(int s) const {
  const int residual = steps_[s].inputs[1];
  for (int between = s - 1; !(steps_[between].statistics && steps_[between].batch_norm == steps_[s].batch_norm);
       --between) {
    const auto& inputs = steps_[between].inputs;
    if (steps_[between].node == residual || std::find(inputs.begin(), inputs.end(), residual) != inputs.end())
      return false;
  }
  return true;
}

}  // namespace pleat
