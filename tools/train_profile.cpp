#include "tools/train_profile.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/conv_kernel.hpp"
#include "ops/spec.hpp"
#include "tools/time_training.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

// Seconds of the fastest of a few runs: what a machine can do, not what its neighbours left.
template <class Work>
double fastest(const Work& work) {
  double best = 1e30;
  for (int i = 0; i < 10; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

template <class T>
double convolution_gflops() {
  const Nhwc shape{32, 16, 16, 256};
  const Conv2d op{.out = 256, .kernel = 3, .pad = Padding::uniform(1)};
  AlignedVector<T> x(shape.size(), T(1.0f)), y(shape.size());
  const AlignedVector<float> weight(int64_t{256} * 256 * 9, 0.01f);
  const auto conv = make_conv_kernel<T>(shape, op, {});
  conv->begin_forward(weight);
  const double flops = 2.0 * static_cast<double>(shape.size()) * 256 * 9;
  return flops / fastest([&] { conv->forward(y, x, {}); }) * 1e-9;
}

double copy_gbytes() {
  constexpr int64_t kFloats = int64_t{32} << 20;
  AlignedVector<float> from(kFloats, 1.0f), to(kFloats);
  return 2.0 * kFloats * sizeof(float) * 1e-9 / fastest([&] {
           parallel_for(kFloats, [&](int64_t begin, int64_t end, int) {
             std::copy(from.begin() + begin, from.begin() + end, to.begin() + begin);
           });
         });
}

// What one step does, for a batch, in one forward pass.
struct Work {
  double flops = 0, bytes = 0;
};

Work work_of(const Graph& graph, const ExecPlan& plan, const PlannedStep& step, const std::vector<Nhwc>& picture,
             double batch) {
  Work work;
  if (!step.statistics && step.batch_norm < 0) work.flops = 2 * static_cast<double>(macs(graph, step.node, picture));
  const auto bytes = [&](int node) { return static_cast<double>(picture[node].size()) * plan.value_bytes(node); };
  for (int input : step.inputs) work.bytes += bytes(input);
  if (!step.statistics) work.bytes += bytes(step.node);
  return {work.flops * batch, work.bytes * batch};
}

Json line(const std::string& kind, const std::string& name, const double (&ms)[4], const Work& work, const Peak& peak) {
  // Backward through a convolution or linear layer: two products of the forward one's size.
  const double total = ms[0] + ms[1] + ms[2] + ms[3];
  const double gflops = total > 0 ? 3 * work.flops / total * 1e-6 : 0;
  const double gbytes = total > 0 ? 3 * work.bytes / total * 1e-6 : 0;
  return {{"kind", kind},
          {"name", name},
          {"forward_ms", ms[0]},
          {"recompute_ms", ms[1]},
          {"backward_ms", ms[2]},
          {"once_ms", ms[3]},
          {"total_ms", total},
          {"gflops", gflops},
          {"share_of_peak_flops", gflops / peak.gflops},
          {"gbytes", gbytes},
          {"share_of_peak_bytes", gbytes / peak.gbytes}};
}

void print_line(std::ostream& out, const Json& l, double all_ms) {
  const auto number = [&](const char* key) { return l[key].get<double>(); };
  char text[200];
  std::snprintf(text, sizeof text, "%8.2f %8.2f %8.2f %8.2f %8.2f %5.1f%% %8.1f %5.0f%% %7.1f %5.0f%%  %-16s %s\n",
                number("forward_ms"), number("recompute_ms"), number("backward_ms"), number("once_ms"),
                number("total_ms"), 100 * number("total_ms") / all_ms, number("gflops"),
                100 * number("share_of_peak_flops"), number("gbytes"), 100 * number("share_of_peak_bytes"),
                l["kind"].get<std::string>().c_str(), l["name"].get<std::string>().c_str());
  out << text;
}

}  // namespace

Peak measure_peak(Dtype dtype) {
  return {.gflops = dtype == Dtype::bf16 ? convolution_gflops<Bf16>() : convolution_gflops<float>(),
          .gbytes = copy_gbytes()};
}

Json profile_training(Model model, const ExecOptions& options, int64_t steps) {
  const Peak peak = measure_peak(options.dtype);
  TrainingSteps training(std::move(model), options);
  const Exec& exec = training.exec();
  const auto& planned = exec.plan().steps;
  training.step();
  StepTimes times(planned.size());
  for (int64_t i = 0; i < steps; ++i) training.step(&times);

  const Graph& graph = training.model().graph;
  const std::vector<Nhwc> picture = infer_shapes(graph);
  struct Sum {
    double ms[4] = {};
    Work work;
  };
  std::map<std::string, Sum> kinds;
  Json lines = Json::array();
  for (std::size_t s = 0; s < planned.size(); ++s) {
    const PlannedStep& step = planned[s];
    const Node& node = graph.nodes[step.statistics ? step.batch_norm : step.node];
    const std::string name = step.statistics        ? "statistics"
                             : step.batch_norm >= 0 ? "batch_norm"
                                                    : kind(graph.nodes[step.node].op);
    Sum sum{.work = work_of(graph, exec.plan(), step, picture, static_cast<double>(options.batch))};
    Sum& of_kind = kinds[name];
    for (int pass = 0; pass < 4; ++pass) {
      sum.ms[pass] = 1e3 * times.seconds(static_cast<int>(s), static_cast<Pass>(pass)) / static_cast<double>(steps);
      of_kind.ms[pass] += sum.ms[pass];
    }
    of_kind.work.flops += sum.work.flops;
    of_kind.work.bytes += sum.work.bytes;
    lines.push_back(line(name, node.name, sum.ms, sum.work, peak));
    lines.back()["piece"] = exec.plan().pieces[step.group];
  }
  Json totals = Json::array();
  for (const auto& [name, sum] : kinds) totals.push_back(line(name, "(all)", sum.ms, sum.work, peak));
  return {{"peak_gflops", peak.gflops},
          {"peak_gbytes", peak.gbytes},
          {"arena_bytes", exec.arena_bytes()},
          {"steps", lines},
          {"kinds", totals}};
}

void print_profile(std::ostream& out, const Json& profile) {
  double all_ms = 0;
  for (const Json& l : profile["kinds"]) all_ms += l["total_ms"].get<double>();
  char text[160];
  std::snprintf(text, sizeof text, "peak: %.0f GFLOP/s (a large convolution), %.1f GB/s (a copy); arena %.1f MB\n",
                profile["peak_gflops"].get<double>(), profile["peak_gbytes"].get<double>(),
                profile["arena_bytes"].get<double>() * 1e-6);
  out << text;
  std::snprintf(text, sizeof text, "%8s %8s %8s %8s %8s %6s %8s %6s %7s %6s\n", "fwd ms", "again", "bwd ms", "once",
                "total", "share", "GFLOP/s", "peak", "GB/s", "peak");
  out << text;
  for (const Json& l : profile["steps"]) print_line(out, l, all_ms);
  for (const Json& l : profile["kinds"]) print_line(out, l, all_ms);
}

}  // namespace pleat
