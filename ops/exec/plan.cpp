#include "ops/exec/plan.hpp"

#include "core/check.hpp"
#include "ops/exec/batch_pieces.hpp"
#include "ops/exec/step_fusion.hpp"
#include "ops/exec/stored_values.hpp"

namespace pleat {

ExecPlan plan_exec(const Graph& graph, const std::vector<Nhwc>& shapes, const ExecPlanOptions& options) {
  PLEAT_CHECK(options.piece == 0 || (options.piece > 0 && options.batch % options.piece == 0), "exec: a batch of ",
              options.batch, " does not come in pieces of ", options.piece);
  ExecPlan plan;
  plan.steps = fuse_steps(graph, options.training);
  plan.bf16 = choose_bf16(graph, options.bf16);
  plan.recompute = choose_recomputed(graph, plan, options);
  plan.pieces = choose_batch_pieces(graph, plan, shapes, options);
  return plan;
}

}  // namespace pleat
