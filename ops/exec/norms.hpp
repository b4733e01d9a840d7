// How batch norms are recorded. Each is two steps, its statistics and what is applied (ops/exec/plan.hpp); what those
// do pixel by pixel the convolution between them does as it goes, where its kernel calls hooks: the pixels are then in
// the thread's cache, and memory is busy while other threads multiply. Private to ops/exec/recorder.cpp.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "ops/batch_norm.hpp"
#include "ops/conv/conv_kernel.hpp"
#include "ops/exec/values.hpp"

namespace pleat {

class ExecNorms : protected ExecValues {
 protected:
  explicit ExecNorms(Exec& exec) : ExecValues(exec), done_(exec.plan_.steps.size()) {}

  // Leaves to the convolution `conv`, whose kernel will call these hooks, what it can do of the batch norms beside it.
  void fuse_norms(int conv, const HooksCalled& called) {
    const PlannedStep& step = steps_[conv];
    Beside& beside = beside_[conv];
    const auto uses = [&](int node) {
      std::ptrdiff_t count = 0;
      for (const PlannedStep& s : steps_) count += std::ranges::count(s.inputs, node);
      return count;
    };
    for (int s = 0; s < std::ssize(steps_); ++s) {
      const PlannedStep& other = steps_[s];
      if (other.batch_norm < 0 || other.group != step.group) continue;
      if (other.statistics && other.inputs[0] == step.node) {
        beside.statistics = s;
        // Were it used by others than the two steps of the norm, or as a residual, gradients would have to be added.
        done_[s] = {.forward = called.y, .backward = called.dy && uses(step.node) == 2};
      } else if (!other.statistics && other.node == step.inputs[0] && uses(other.node) == 1) {
        beside.applied = s;
        done_[s] = {.forward = called.x, .recompute = called.again, .backward = called.dx && other.inputs.size() == 1};
      }
    }
  }

  // For the kernel of this step.
  template <class T>
  ConvHooks hooks(int conv) {
    ConvHooks result;
    const auto found = beside_.find(conv);
    if (found == beside_.end()) return result;
    const auto [applied, statistics] = found->second;
    if (applied >= 0) {
      if (done_[applied].forward) result.x = apply<T>(steps_[applied]);
      if (done_[applied].recompute && recomputed(steps_[applied])) result.again = apply<T>(steps_[applied]);
      if (done_[applied].backward) result.dx = add_gradients<T>(steps_[applied]);
    }
    if (statistics >= 0) {
      if (done_[statistics].forward) result.y = add_statistics<T>(steps_[statistics]);
      if (done_[statistics].backward) result.dy = input_gradient<T>(steps_[statistics]);
    }
    return result;
  }

  // Before a step's kernel runs, for its hooks.
  const std::shared_ptr<Piece>& piece_of_hooks() const { return piece_; }

  template <class T>
  Step batch_norm_statistics(const BatchNorm& op, const PlannedStep& step) {
    const Norm<T> n = norm<T>(step);
    const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
    use(gradient<T>(applied(step).node).buffer, BufferUse::backward);
    Step result{.end_forward = [=] { batch_norm_finish_statistics<T>(*n.saved, mean, var, op); }};
    if (!done_[now_].forward) result.forward = on_pixels(step, add_statistics<T>(step));
    const auto dx_rows = input_gradient_rows<T>(step);
    const int64_t pixels = x_shape(step).pixels();
    result.backward = into_gradient<T>(step, 0, [=](std::span<T> dx, Piece piece) {
      parallel_for(pixels, [&](int64_t begin, int64_t end, int) { dx_rows(dx, piece, begin, end); });
    });
    if (done_[now_].backward) result.backward = nullptr;
    return result;
  }

  template <class T>
  Step batch_norm_apply(const BatchNorm& op, const PlannedStep& step) {
    const Norm<T> n = norm<T>(step);
    const auto forward = on_pixels(step, apply<T>(step));
    Step result;
    if (!done_[now_].forward) result.forward = forward;
    if (recomputed(step) && !done_[now_].recompute) result.recompute = forward;
    if (!training_) {
      const std::span<float> mean = running(step, ".running_mean"), var = running(step, ".running_var");
      result.begin_forward = [=] { batch_norm_running<T>(*n.saved, mean, var, op); };
      return result;
    }
    const auto hand_on = step.inputs.size() == 2 ? hand_gradient_on<T>(step, 1) : nullptr;
    const auto sums = on_pixels(step, add_gradients<T>(step));
    if (!done_[now_].backward)
      result.backward = [=](Piece piece) {
        sums(piece);
        if (hand_on) hand_on(piece);
      };
    const std::span<float> dgamma = parameter(step, ".weight").gradient, dbeta = parameter(step, ".bias").gradient;
    const AlphaAct* act = act_of(step);
    const std::span<float> dalpha = act ? alpha_of(*act).gradient : std::span<float>{};
    const Nhwc batch = e_.shapes_[step.inputs[0]];
    result.end_backward = [=] {
      batch_norm_backward_finish<T>(*n.saved, dalpha.data(), dgamma, dbeta, n.params, batch);
    };
    return result;
  }

 private:
  // Steps of batch norms, -1: none that may be fused.
  struct Beside {
    int applied = -1, statistics = -1;
  };
  // What a convolution does instead of the step itself.
  struct Done {
    bool forward = false, recompute = false, backward = false;
  };

  // What the two steps of one batch norm share.
  template <class T>
  struct Norm {
    std::shared_ptr<BatchNormSaved<T>> saved;
    BatchNormParams<T> params;
    Ref<T> x;
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
    std::shared_ptr<void>& saved = norms_.try_emplace(step.batch_norm).first->second;
    const int64_t channels = x_shape(step).c;
    if (!saved) saved = std::make_shared<BatchNormSaved<T>>(channels);
    return {std::static_pointer_cast<BatchNormSaved<T>>(saved),
            {parameter(step, ".weight").value, parameter(step, ".bias").value},
            value<T>(step.inputs[0]),
            channels};
  }
  std::span<float> running(const PlannedStep& step, const char* suffix) {
    return e_.tensors_.at(e_.graph_.nodes[step.batch_norm].name + suffix).values;
  }
  const PlannedStep& applied(const PlannedStep& statistics) const {
    return *std::ranges::find_if(steps_,
                                 [&](const auto& s) { return s.batch_norm == statistics.batch_norm && !s.statistics; });
  }

  // The residual's piece, the activation, alpha as it is when the step runs.
  template <class T>
  std::function<BatchNormTail<T>(Piece)> tail_of(const PlannedStep& step) {
    const bool residual = step.inputs.size() == 2;
    const Ref<T> r = value<T>(step.inputs.back());
    const AlphaAct* act = act_of(step);
    const std::span<float> alpha = act ? alpha_of(*act).value : std::span<float>{};
    return [=](Piece piece) {
      return BatchNormTail<T>{
          .residual = residual ? r(piece) : std::span<T>{}, .act = act, .alpha = alpha.empty() ? 0 : alpha[0]};
    };
  }

  // The hook for all pixels of a piece of the step's input.
  std::function<void(Piece)> on_pixels(const PlannedStep& step, const PixelHook& hook) const {
    return [=, pixels = x_shape(step).pixels(), now = piece_](Piece piece) {
      *now = piece;
      parallel_for(pixels, hook);
    };
  }

  template <class T>
  PixelHook apply(const PlannedStep& step) {
    const Ref<T> y = value<T>(step.node);
    return [=, n = norm<T>(step), tail = tail_of<T>(step), now = piece_](int64_t begin, int64_t end, int) {
      batch_norm_forward<T>(n.rows(y(*now), begin, end), n.rows(std::span<const T>(n.x(*now)), begin, end),
                            n.rows(tail(*now), begin, end), *n.saved, n.params);
    };
  }
  template <class T>
  PixelHook add_statistics(const PlannedStep& step) {
    return [n = norm<T>(step), now = piece_](int64_t begin, int64_t end, int thread) {
      batch_norm_add_statistics<T>(*n.saved, n.rows(n.x(*now), begin, end), thread);
    };
  }
  template <class T>
  PixelHook add_gradients(const PlannedStep& step) {
    const bool residual = step.inputs.size() == 2;
    const Ref<T> dy = gradient<T>(step.node);
    return [=, n = norm<T>(step), tail = tail_of<T>(step), now = piece_](int64_t begin, int64_t end, int thread) {
      const std::span<T> rows = n.rows(dy(*now), begin, end);
      batch_norm_backward_sums<T>(*n.saved, residual ? rows : std::span<T>{}, rows, n.rows(n.x(*now), begin, end),
                                  n.rows(tail(*now), begin, end), n.params, thread);
    };
  }
  template <class T>
  auto input_gradient_rows(const PlannedStep& step) {
    const PlannedStep& after = applied(step);
    // With a residual the buffer holds the gradient before the activation by now.
    const bool residual = after.inputs.size() == 2;
    return [=, dy = gradient<T>(after.node), n = norm<T>(step), tail = tail_of<T>(after)](std::span<T> dx, Piece piece,
                                                                                          int64_t begin, int64_t end) {
      batch_norm_backward_dx<T>(n.rows(dx, begin, end), n.rows(std::span<const T>(dy(piece)), begin, end),
                                n.rows(std::span<const T>(n.x(piece)), begin, end),
                                residual ? BatchNormTail<T>{} : tail(piece), *n.saved, n.params);
    };
  }
  template <class T>
  PixelHook input_gradient(const PlannedStep& step) {
    return [rows = input_gradient_rows<T>(step), dx = gradient<T>(step.inputs[0]), now = piece_](
               int64_t begin, int64_t end, int) { rows(dx(*now), *now, begin, end); };
  }

  std::map<int, std::shared_ptr<void>> norms_;  // batch norm -> BatchNormSaved<T>
  std::map<int, Beside> beside_;                // convolutions that do something of a norm's
  std::vector<Done> done_;                      // of every step
  std::shared_ptr<Piece> piece_ = std::make_shared<Piece>();
};

}  // namespace pleat
