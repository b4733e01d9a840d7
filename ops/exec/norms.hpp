// How batch norms are recorded. In training each is two steps: one that sums up the statistics of the batch, and one
// that applies them (ops/exec/step_fusion.hpp). Both work pixel by pixel, so a convolution beside them can do that work
// as it goes, through hooks (ops/conv/conv_hooks.hpp): the pixels are then in the thread's cache, and memory is busy
// while other threads multiply. Private to ops/exec/recorder.cpp.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "core/parallel.hpp"
#include "ops/batch_norm.hpp"
#include "ops/conv/conv_kernel.hpp"
#include "ops/exec/values.hpp"

namespace pleat {

class BatchNormSteps {
 public:
  explicit BatchNormSteps(ExecValues& values) : values_(values), done_(values.steps().size()) {}

  /// Offers `kernel`, which computes the convolution of step `conv`, the work of the batch norms beside it as hooks.
  /// What the kernel takes, those steps leave out when they are recorded; so this must be called before.
  template <class T>
  void share_work(const PlannedStep& conv, ConvKernel<T>& kernel) {
    const PlannedStep *applied = applied_before(conv), *statistics = statistics_behind(conv);
    ConvHooks offered;
    if (applied != nullptr) {
      offered.x = apply<T>(*applied);
      if (values_.recomputed(*applied)) offered.x_again = apply<T>(*applied);
      if (applied->inputs.size() == 1) offered.dx = add_gradients<T>(*applied);
    }
    if (statistics != nullptr) {
      offered.y = add_statistics<T>(*statistics);
      // If others than the two steps of the norm read the convolution's value, its gradient is a sum of several.
      if (count_readers(conv.node) == 2) offered.dy = input_gradient<T>(*statistics);
    }
    const ConvHooks left = kernel.take_hooks(offered);
    const auto is_taken = [](const PixelHook& hook, const PixelHook& rest) { return hook && !rest; };
    if (applied != nullptr)
      done_[applied->index] = {.forward = is_taken(offered.x, left.x),
                               .recompute = is_taken(offered.x_again, left.x_again),
                               .backward = is_taken(offered.dx, left.dx)};
    if (statistics != nullptr)
      done_[statistics->index] = {.forward = is_taken(offered.y, left.y), .backward = is_taken(offered.dy, left.dy)};
  }

  template <class T>
  TapeStep statistics(const BatchNorm& op, const PlannedStep& step) {
    const Norm<T> n = norm<T>(step);
    const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
    values_.use(step, values_.gradient<T>(applied(step).node).buffer, BufferUse::backward);
    ProcessGroup* ranks = values_.parts().options.norm_ranks;
    TapeStep result{.end_forward = [=] { batch_norm_finish_statistics<T>(*n.saved, mean, var, op, ranks); }};
    if (!done_[step.index].forward) result.forward = on_pixels(step, add_statistics<T>(step));
    const auto dx_rows = input_gradient_rows<T>(step);
    const int64_t pixels = values_.x_shape(step).pixels();
    result.backward = values_.into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
      parallel_for(pixels, [&](int64_t begin, int64_t end, int) { dx_rows(dx, piece, begin, end); });
    });
    if (done_[step.index].backward) result.backward = nullptr;
    return result;
  }

  template <class T>
  TapeStep application(const BatchNorm& op, const PlannedStep& step) {
    const Norm<T> n = norm<T>(step);
    const auto forward = on_pixels(step, apply<T>(step));
    TapeStep result;
    if (!done_[step.index].forward) result.forward = forward;
    if (values_.recomputed(step) && !done_[step.index].recompute) result.recompute = forward;
    if (!values_.training()) {
      const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
      result.begin_forward = [=] { batch_norm_running<T>(*n.saved, mean, var, op); };
      return result;
    }
    const auto hand_on = step.inputs.size() == 2 ? values_.hand_gradient_on<T>(step, 1) : nullptr;
    const auto sums = on_pixels(step, add_gradients<T>(step));
    if (!done_[step.index].backward)
      result.backward = [=](Piece piece) {
        sums(piece);
        if (hand_on) hand_on(piece);
      };
    const std::span<float> dgamma = values_.parameter(step, ".weight").gradient,
                           dbeta = values_.parameter(step, ".bias").gradient;
    const AlphaAct* act = values_.act_of(step);
    const std::span<float> dalpha = act ? values_.alpha_of(*act).gradient : std::span<float>{};
    const Nhwc batch = values_.parts().shapes[step.inputs[0]];
    ProcessGroup* ranks = values_.parts().options.norm_ranks;
    result.end_backward = [=] {
      batch_norm_backward_finish<T>(*n.saved, dalpha.data(), dgamma, dbeta, n.params, batch, ranks);
    };
    return result;
  }

 private:
  // The passes of a step in which a convolution does its work on pixels.
  struct Done {
    bool forward = false, recompute = false, backward = false;
  };

  std::ptrdiff_t count_readers(int node) const {
    std::ptrdiff_t count = 0;
    for (const PlannedStep& step : values_.steps()) count += std::ranges::count(step.inputs, node);
    return count;
  }
  // The batch norm's step in the convolution's group that writes what the convolution alone reads; null if none does.
  const PlannedStep* applied_before(const PlannedStep& conv) const {
    for (const PlannedStep& step : values_.steps())
      if (step.batch_norm >= 0 && !step.statistics && step.group == conv.group && step.node == conv.inputs[0])
        return count_readers(step.node) == 1 ? &step : nullptr;
    return nullptr;
  }
  // The step in the convolution's group that sums up the statistics of its value; null if there is none.
  const PlannedStep* statistics_behind(const PlannedStep& conv) const {
    const PlannedStep* found = nullptr;
    for (const PlannedStep& step : values_.steps())
      if (step.statistics && step.group == conv.group && step.inputs[0] == conv.node) found = &step;
    return found;
  }

  // What the two steps of one batch norm share.
  template <class T>
  struct Norm {
    std::shared_ptr<BatchNormSaved<T>> saved;
    BatchNormParams<T> params;
    BufferRef<T> x;
    int64_t channels;

    template <class Values>
    auto rows(const Values& all, int64_t begin, int64_t end) const {
      return all.empty() ? all : all.subspan(begin * channels, (end - begin) * channels);
    }
    BatchNormTail<T> rows(BatchNormTail<T> tail, int64_t begin, int64_t end) const {
      tail.residual = rows(tail.residual, begin, end);
      return tail;
    }
  };
  template <class T>
  Norm<T> norm(const PlannedStep& step) {
    auto& saved = std::get<SavedByNode<T>>(saved_)[step.batch_norm];
    const int64_t channels = values_.x_shape(step).c;
    if (!saved) saved = std::make_shared<BatchNormSaved<T>>(channels);
    return {saved,
            {values_.parameter(step, ".weight").value, values_.parameter(step, ".bias").value},
            values_.value<T>(step.inputs[0]),
            channels};
  }
  std::span<float> running(const PlannedStep& step, const char* suffix) {
    const ExecParts& parts = values_.parts();
    return parts.tensors.at(parts.graph.nodes[step.batch_norm].name + suffix).values;
  }
  const PlannedStep& applied(const PlannedStep& statistics) const {
    return *std::ranges::find_if(values_.steps(),
                                 [&](const auto& s) { return s.batch_norm == statistics.batch_norm && !s.statistics; });
  }

  // The residual's piece, the activation, alpha as it is when the step runs.
  template <class T>
  std::function<BatchNormTail<T>(Piece)> tail_of(const PlannedStep& step) {
    const bool residual = step.inputs.size() == 2;
    const BufferRef<T> r = values_.value<T>(step.inputs.back());
    const AlphaAct* act = values_.act_of(step);
    const std::span<float> alpha = act ? values_.alpha_of(*act).value : std::span<float>{};
    return [=](Piece piece) {
      return BatchNormTail<T>{
          .residual = residual ? r(piece) : std::span<T>{}, .act = act, .alpha = alpha.empty() ? 0 : alpha[0]};
    };
  }

  // The hook for all pixels of a piece of the step's input.
  std::function<void(Piece)> on_pixels(const PlannedStep& step, const PixelHook& hook) const {
    return [hook, pixels = values_.x_shape(step).pixels()](Piece piece) {
      parallel_for(pixels, [&](int64_t begin, int64_t end, int thread) { hook(piece, begin, end, thread); });
    };
  }

  template <class T>
  PixelHook apply(const PlannedStep& step) {
    const BufferRef<T> y = values_.value<T>(step.node);
    return [=, n = norm<T>(step), tail = tail_of<T>(step)](const Piece& piece, int64_t begin, int64_t end, int) {
      batch_norm_forward<T>(n.rows(y(piece), begin, end), n.rows(std::span<const T>(n.x(piece)), begin, end),
                            n.rows(tail(piece), begin, end), *n.saved, n.params);
    };
  }
  template <class T>
  PixelHook add_statistics(const PlannedStep& step) {
    return [n = norm<T>(step)](const Piece& piece, int64_t begin, int64_t end, int thread) {
      batch_norm_add_statistics<T>(*n.saved, n.rows(n.x(piece), begin, end), thread);
    };
  }
  template <class T>
  PixelHook add_gradients(const PlannedStep& step) {
    const bool residual = step.inputs.size() == 2;
    const BufferRef<T> dy = values_.gradient<T>(step.node);
    return [=, n = norm<T>(step), tail = tail_of<T>(step)](const Piece& piece, int64_t begin, int64_t end, int thread) {
      const std::span<T> rows = n.rows(dy(piece), begin, end);
      batch_norm_backward_sums<T>(*n.saved, residual ? rows : std::span<T>{}, rows, n.rows(n.x(piece), begin, end),
                                  n.rows(tail(piece), begin, end), n.params, thread);
    };
  }
  template <class T>
  auto input_gradient_rows(const PlannedStep& step) {
    const PlannedStep& after = applied(step);
    // With a residual the buffer holds the gradient before the activation by now.
    const bool residual = after.inputs.size() == 2;
    return [=, dy = values_.gradient<T>(after.node), n = norm<T>(step), tail = tail_of<T>(after)](
               std::span<T> dx, Piece piece, int64_t begin, int64_t end) {
      batch_norm_backward_dx<T>(n.rows(dx, begin, end), n.rows(std::span<const T>(dy(piece)), begin, end),
                                n.rows(std::span<const T>(n.x(piece)), begin, end),
                                residual ? BatchNormTail<T>{} : tail(piece), *n.saved, n.params);
    };
  }
  template <class T>
  PixelHook input_gradient(const PlannedStep& step) {
    return [rows = input_gradient_rows<T>(step), dx = values_.gradient<T>(step.inputs[0])](
               const Piece& piece, int64_t begin, int64_t end, int) { rows(dx(piece), piece, begin, end); };
  }

  template <class T>
  using SavedByNode = std::map<int, std::shared_ptr<BatchNormSaved<T>>>;

  ExecValues& values_;
  std::tuple<SavedByNode<float>, SavedByNode<Bf16>> saved_;  // what the two steps of a batch norm share, by its node
  std::vector<Done> done_;                                   // by step
};

}  // namespace pleat
