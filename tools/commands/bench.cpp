// `pleat bench MODEL...` measures the latency of the engine for several models and precisions in turn, or the speed of
// training.
#include <numeric>
#include <ostream>
#include <vector>

#include "core/machine.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/engine_options.hpp"
#include "tools/measure/engine_latency.hpp"
#include "tools/measure/training_profile.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/train/training_speed.hpp"
#include "tools/tune.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

Json bench_training(const Cli& cli, int64_t batch, int64_t warmup, int64_t runs) {
  Json models = Json::array();
  ExecOptions options{.batch = batch, .training = true, .kernels = cli.kernels(), .dtype = cli.dtype()};
  for (const std::string& name : cli.arguments("MODEL...")) {
    Model model = open_model(name, cli.seed(), "", "", network_options(cli));
    options.algorithms = tune(cli, model.graph, options);
    if (cli.has("profile")) {
      Json profile = profile_training(std::move(model), options, runs);
      print_profile(cli.out() << name << ", " << batch << " pictures per training step\n", profile);
      models.push_back({{"model", name}, {"profile", std::move(profile)}});
      continue;
    }
    const std::vector<double> seconds = time_training(std::move(model), options, warmup, runs);
    const double median = quantile(seconds, 0.5);
    const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
    const double rate = static_cast<double>(batch) / median;
    cli.out() << name << ": " << 1e3 * median << " ms per training step, " << rate << " images/s\n";
    models.push_back({{"model", name},
                      {"median_ms", 1e3 * median},
                      {"mean_ms", 1e3 * mean},
                      {"images_per_second", rate},
                      {"algorithms", options.algorithms},
                      {"peak_memory", peak_memory()}});
  }
  return models;
}

Json bench_engine(const Cli& cli, int64_t batch, int64_t warmup, int64_t runs) {
  std::vector<Timed> timed;
  for (const std::string& name : cli.arguments("MODEL...")) {
    const Model model = open_model(name, cli.seed(), "", "", network_options(cli));
    for (const EngineOptions& options : engine_options_each(cli, batch)) timed.emplace_back(name, model, options);
  }
  time_calls(timed, warmup, runs, cli.has("profile"));
  print_report(cli.out(), timed);
  Json models = Json::array();
  for (const Timed& t : timed) models.push_back(report(t, timed.front()));
  return models;
}

}  // namespace

int bench_command(int argc, char** argv) {
  Cli cli(
      "pleat bench",
      "Measures the latency of the inference engine on synthetic pictures, for several models and precisions in turn.",
      "pleat bench base.safetensors folded.safetensors --batch 1\n"
      "pleat bench resnet20 --dtype f32,bf16 --profile\n"
      "pleat bench resnet20 --training --batch 128 --runs 10");
  cli.accept_dtypes();
  cli.argument("MODEL...", "names from `pleat list` (with random weights) or model files");
  cli.option("batch", "N", "pictures per call", "1");
  cli.option("warmup", "N", "calls before the measurement starts", "10");
  cli.option("runs", "N", "measured calls of each model", "200");
  cli.flag("profile", "also measure every step, and the peak speed of this machine");
  cli.flag("training", "measure training steps instead");
  declare_tune(cli);
  declare_network_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const int64_t batch = cli.integer("batch", 1, 1 << 16), warmup = cli.integer("warmup", 0, 1'000'000);
  const int64_t runs = cli.integer("runs", 1, 10'000'000);
  cli.finish({{"models", cli.has("training") ? bench_training(cli, batch, warmup, runs)
                                             : bench_engine(cli, batch, warmup, runs)}});
  return 0;
}

}  // namespace pleat
