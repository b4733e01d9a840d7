#include "tools/measure/training_profile.hpp"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/spec.hpp"
#include "tools/measure/machine_peak.hpp"
#include "tools/train/training_speed.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

// The work of one tape step in the forward pass of a batch.
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

// One line of the profile. `ms` are forward, recompute, backward and once per batch.
Json line(const std::string& kind, const std::string& name, const double (&ms)[4], const Work& work, const Peak& peak) {
  // The backward pass of a convolution or linear layer does two products of the size of the forward pass, so the total
  // is three times the forward work.
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
  std::snprintf(text, sizeof text, "; arena %.1f MB\n", profile["arena_bytes"].get<double>() * 1e-6);
  out << Peak{profile["peak_gflops"].get<double>(), profile["peak_gbytes"].get<double>()} << text;
  std::snprintf(text, sizeof text, "%8s %8s %8s %8s %8s %6s %8s %6s %7s %6s\n", "fwd ms", "again", "bwd ms", "once",
                "total", "share", "GFLOP/s", "peak", "GB/s", "peak");
  out << text;
  for (const Json& l : profile["steps"]) print_line(out, l, all_ms);
  for (const Json& l : profile["kinds"]) print_line(out, l, all_ms);
}

}  // namespace pleat
