#include "tools/tune.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/progress.hpp"
#include "core/rng.hpp"
#include "ops/conv/tune_cache.hpp"
#include "ops/conv/conv_kernel.hpp"
#include "ops/conv/window.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

using Clock = std::chrono::steady_clock;

// The letters remembered for a convolution; empty if there are none that can be read.
std::string remembered(const TuneCache& cache, const std::string& shape, const TrainingConv& conv) {
  const std::string letters = cache.find(shape);
  try {
    if (!letters.empty()) parse_algorithms(letters, {conv});
  } catch (const std::invalid_argument&) {
    return {};
  }
  return letters;
}

std::string describe(const TrainingConv& c) {
  const Padding& pad = c.op.pad;
  return concat(c.bf16 ? "bf16 " : "f32 ", to_string(c.x_shape), " out ", c.op.out, " pad ", pad.top, ' ', pad.left,
                ' ', pad.bottom, ' ', pad.right, c.op.bias ? " bias" : "", c.needs_dx ? " dx" : "", " pieces ",
                c.pieces, c.op.kernel == 1 ? " pointwise" : "");
}

// One convolution with its buffers, and the best times so far of one algorithm.
template <class T>
struct Candidate {
  Algorithm algorithm;
  std::unique_ptr<ConvKernel<T>> kernel;
  double forward = 1e30, backward_data = 1e30, backward_weights = 1e30;  // seconds a batch
};

double seconds(const auto& call) {
  const Clock::time_point start = Clock::now();
  call();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// By the least of several rounds, in turn: a shared machine's neighbours come and go. For less than a tenth the usual
// algorithm is not given up: what was noise today would be remembered.
template <class T>
ConvAlgorithms fastest(const TrainingConv& c) {
  constexpr int kRounds = 15;
  constexpr double kWorthIt = 0.9;
  const Nhwc y_shape = slide(c.x_shape, c.op.out, c.op.kernel, c.op.stride, c.op.pad);
  Rng rng(1);
  AlignedVector<T> x(c.x_shape.size()), dx(x.size()), y(y_shape.size()), dy(y.size());
  for (T& value : x) value = T(static_cast<float>(rng.normal()));
  for (T& value : dy) value = T(static_cast<float>(rng.normal()));
  AlignedVector<float> weight(int64_t{c.op.out} * c.x_shape.c * c.op.kernel * c.op.kernel, 0.01f);
  AlignedVector<float> dweight(weight.size()), bias(c.op.bias ? c.op.out : 0), dbias(bias.size());
  const auto pieces = static_cast<double>(c.pieces);

  std::vector<Candidate<T>> candidates;
  const ConvPasses passes{.backward_data = c.needs_dx, .backward_weights = true};
  for (const Algorithm a : algorithms_for(c.x_shape, c.op))
    candidates.push_back({a, make_conv_kernel<T>(c.x_shape, c.op, {.passes = passes, .algorithms = {a, a, a}})});
  for (int round = 0; round < kRounds; ++round)
    for (Candidate<T>& candidate : candidates) {
      ConvKernel<T>& conv = *candidate.kernel;
      const auto keep_least = [](double& least, double once, double piece, double count) {
        least = std::min(least, once + count * piece);
      };
      double once = seconds([&] { conv.begin_forward(weight); });
      keep_least(candidate.forward, once, seconds([&] { conv.forward(y, x, bias); }), pieces);
      once = seconds([&] { conv.begin_backward(weight, dweight, dbias); });
      if (c.needs_dx) keep_least(candidate.backward_data, once, seconds([&] { conv.backward_data(dx, dy); }), pieces);
      const double piece = seconds([&] { conv.backward_weights(dy, x); });
      keep_least(candidate.backward_weights, seconds([&] { conv.end_backward(); }), piece, pieces);
    }
  const auto least = [&](double Candidate<T>::*pass, Algorithm usual) {
    const auto best = std::ranges::min_element(candidates, {}, pass);
    const auto known = std::ranges::find(candidates, usual, &Candidate<T>::algorithm);
    return (*best).*pass < kWorthIt * ((*known).*pass) ? best->algorithm : usual;
  };
  const ConvAlgorithms usual = usual_algorithms(c);
  return {least(&Candidate<T>::forward, usual.forward), least(&Candidate<T>::backward_data, usual.backward_data),
          least(&Candidate<T>::backward_weights, usual.backward_weights)};
}

std::string time_all(const std::vector<TrainingConv>& convs, bool quiet) {
  TuneCache cache;
  Progress progress("timing convolutions", "convolutions", static_cast<int64_t>(convs.size()), quiet);
  std::string text;
  for (std::size_t i = 0; i < convs.size(); ++i) {
    const std::string shape = describe(convs[i]);
    std::string letters = remembered(cache, shape, convs[i]);
    if (letters.empty()) {
      letters = to_text(convs[i].bf16 ? fastest<Bf16>(convs[i]) : fastest<float>(convs[i]));
      cache.remember(shape, letters);
      cache.save();
    }
    text += letters;
    progress.update(static_cast<int64_t>(i) + 1);
  }
  return text;
}

}  // namespace

void declare_tune(Cli& cli) {
  cli.option("tune", "HOW",
             "algorithms of convolutions: auto (the fastest, timed once and remembered), off (by rule), or letters as "
             "another run noted them in its recipe",
             "auto");
}

std::string tune(const Cli& cli, const Graph& graph, const ExecOptions& options) {
  if (options.kernels != Kernels::onednn) return {};
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  const ExecPlan plan =
      plan_exec(graph, shapes, {.batch = options.batch, .training = true, .bf16 = options.dtype == Dtype::bf16});
  const std::vector<TrainingConv> convs = training_convs(graph, shapes, plan, options.batch);
  const std::string& how = cli.text("tune");
  if (how == "auto") return time_all(convs, cli.quiet());
  std::string text;
  try {
    for (const ConvAlgorithms& algorithms : parse_algorithms(how == "off" ? "" : how, convs))
      text += to_text(algorithms);
  } catch (const std::invalid_argument& error) {
    cli.usage_error(concat("--tune: ", error.what()));
  }
  return text;
}

}  // namespace pleat
