#include "ops/conv/tune_training.hpp"

#include <memory>
#include <vector>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/rng.hpp"
#include "ops/conv/choose_training_algorithm.hpp"
#include "ops/conv/conv_kernel.hpp"
#include "ops/conv/tuner.hpp"
#include "ops/conv/window.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

std::vector<TrainingConv> convs_of(const Graph& graph, const ExecOptions& options) {
  const std::vector<Nhwc> shapes = infer_shapes(graph);
  const ExecPlan plan =
      plan_exec(graph, shapes, {.batch = options.batch, .training = true, .bf16 = options.dtype == Dtype::bf16});
  return training_convs(graph, shapes, plan, options.batch);
}

// The task in the cache, without the pass.
std::string describe(const TrainingConv& c) {
  const Padding& pad = c.op.pad;
  return concat("training ", c.bf16 ? "bf16 " : "f32 ", to_string(c.x_shape), " out ", c.op.out, " kernel ",
                c.op.kernel, " pad ", pad.top, ' ', pad.left, ' ', pad.bottom, ' ', pad.right, c.op.bias ? " bias" : "",
                " pieces ", c.pieces, ' ');
}

// The buffers of one convolution, which all algorithms work on.
template <class T>
struct ConvBuffers {
  explicit ConvBuffers(const TrainingConv& c)
      : x(c.x_shape.size()),
        dx(x.size()),
        y(slide(c.x_shape, c.op.out, c.op.kernel, c.op.stride, c.op.pad).size()),
        dy(y.size()),
        weight(int64_t{c.op.out} * c.x_shape.c * c.op.kernel * c.op.kernel, 0.01f),
        dweight(weight.size()),
        bias(c.op.bias ? c.op.out : 0),
        dbias(bias.size()) {
    Rng rng(1);
    for (T& value : x) value = T(static_cast<float>(rng.normal()));
    for (T& value : dy) value = T(static_cast<float>(rng.normal()));
  }
  AlignedVector<T> x, dx, y, dy;
  AlignedVector<float> weight, dweight, bias, dbias;
};

// One pass: what it does once a batch and what for each piece, in seconds a batch.
template <class T>
struct TimedPass {
  const char* name;
  ConvPasses passes;
  Algorithm ConvAlgorithms::*algorithm;
  double (*once)(ConvKernel<T>& kernel, ConvBuffers<T>& b);
  void (*piece)(ConvKernel<T>& kernel, ConvBuffers<T>& b);
};

// A kernel begins a backward pass untimed before the gradient of its weights, whose own work once a batch is its end.
template <class T>
constexpr TimedPass<T> kForward{
    "forward",
    {.forward = true},
    &ConvAlgorithms::forward,
    [](ConvKernel<T>& kernel, ConvBuffers<T>& b) { return seconds_of([&] { kernel.begin_forward(b.weight); }); },
    [](ConvKernel<T>& kernel, ConvBuffers<T>& b) { kernel.forward(b.y, b.x, b.bias, {}); }};
template <class T>
constexpr TimedPass<T> kBackwardData{
    "backward data",
    {.forward = false, .backward_data = true},
    &ConvAlgorithms::backward_data,
    [](ConvKernel<T>& kernel, ConvBuffers<T>& b) {
      return seconds_of([&] { kernel.begin_backward(b.weight, b.dweight, b.dbias); });
    },
    [](ConvKernel<T>& kernel, ConvBuffers<T>& b) { kernel.backward_data(b.dx, b.dy, {}); }};
template <class T>
constexpr TimedPass<T> kBackwardWeights{
    "backward weights",
    {.forward = false, .backward_weights = true},
    &ConvAlgorithms::backward_weights,
    [](ConvKernel<T>& kernel, ConvBuffers<T>& b) {
      kernel.begin_backward(b.weight, b.dweight, b.dbias);
      kernel.backward_weights(b.dy, b.x, {});
      return seconds_of([&] { kernel.end_backward(); });
    },
    [](ConvKernel<T>& kernel, ConvBuffers<T>& b) { kernel.backward_weights(b.dy, b.x, {}); }};

template <class T>
Algorithm tune_pass(Tuner& tuner, const TrainingConv& c, const TimedPass<T>& pass, Algorithm usual,
                    ConvBuffers<T>& buffers) {
  std::vector<Algorithm> algorithms = algorithms_for(c.x_shape, c.op, c.bf16);
  std::ranges::swap(algorithms.front(), *std::ranges::find(algorithms, usual));
  std::vector<TuneCandidate> candidates;
  for (const Algorithm a : algorithms)
    candidates.push_back({std::string(1, static_cast<char>(a)), [&, a]() -> TimedRun {
                            const std::shared_ptr<ConvKernel<T>> kernel =
                                make_conv_kernel<T>(c.x_shape, c.op, {.passes = pass.passes, .algorithms = {a, a, a}});
                            return [&, kernel] {
                              const double once = pass.once(*kernel, buffers);
                              const double piece = seconds_of([&] { pass.piece(*kernel, buffers); });
                              return once + static_cast<double>(c.pieces) * piece;
                            };
                          }});
  // The rule is not given up for less than a tenth: the choice decides the bits of a run.
  return algorithms[tuner.choose(describe(c) + pass.name, candidates, {.worth_it = 0.9})];
}

template <class T>
ConvAlgorithms tune_conv(Tuner& tuner, const TrainingConv& c) {
  ConvBuffers<T> buffers(c);
  ConvAlgorithms chosen = usual_algorithms(c);
  for (const TimedPass<T>* pass : {&kForward<T>, &kBackwardData<T>, &kBackwardWeights<T>})
    if (!pass->passes.backward_data || c.needs_dx) {
      Algorithm& algorithm = chosen.*(pass->algorithm);
      algorithm = tune_pass(tuner, c, *pass, algorithm, buffers);
    }
  return chosen;
}

}  // namespace

std::string tune_training(const Graph& graph, const ExecOptions& options, const TuneProgress& report) {
  if (options.kernels != Kernels::onednn) return {};
  const std::vector<TrainingConv> convs = convs_of(graph, options);
  Tuner tuner;
  std::string letters;
  for (std::size_t i = 0; i < convs.size(); ++i) {
    letters += to_text(convs[i].bf16 ? tune_conv<Bf16>(tuner, convs[i]) : tune_conv<float>(tuner, convs[i]));
    tuner.save();  // an interrupted run has not timed in vain
    if (report) report(static_cast<int64_t>(i) + 1, std::ssize(convs));
  }
  return letters;
}

std::string training_algorithms(const Graph& graph, const ExecOptions& options, const std::string& letters) {
  if (options.kernels != Kernels::onednn) return {};
  std::string text;
  for (const ConvAlgorithms& algorithms : parse_algorithms(letters, convs_of(graph, options)))
    text += to_text(algorithms);
  return text;
}

}  // namespace pleat
