// The program `pleat-run MODEL (PICTURE... | --data D | --bench)` runs the inference engine. It links oneDNN and no
// training code. Pictures go through the C API, as in other programs that use libpleat; --bench calls the C++ engine
// behind it, which can measure single steps.
#include <iomanip>
#include <memory>
#include <ostream>

#include "core/parallel.hpp"
#include "data/dataset_for.hpp"
#include "fold/engine/c_api.hpp"
#include "ops/model_file.hpp"
#include "tools/classify.hpp"
#include "tools/cli.hpp"
#include "tools/engine_options.hpp"
#include "tools/measure/engine_latency.hpp"
#include "tools/picture_options.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

// A handle of the C API and its logits.
class Network {
 public:
  Network(const Cli& cli, int64_t batch) {
    const EngineOptions asked = engine_options(cli, batch);
    const pleat_options options{.size = sizeof options,
                                .batch = batch,
                                .dtype = asked.dtype == Dtype::bf16 ? "bf16" : "f32",
                                .threads = num_threads(),
                                .untuned = !asked.tune};
    handle_.reset(pleat_load(cli.argument("MODEL").c_str(), &options));
    if (!handle_) throw std::runtime_error(pleat_error());
    int64_t shape[4];
    pleat_output_shape(handle_.get(), shape);
    classes_ = shape[1] * shape[2] * shape[3];
    logits_.resize(batch * classes_);
  }

  /// The model in the file, with the view that the options ask for.
  Model model(const Cli& cli) const {
    Model model = model_of(*handle_);
    set_view(cli, model);
    return model;
  }

  std::span<const float> run(std::span<const float> images, int64_t n) {
    if (pleat_run(handle_.get(), images.data(), images.size(), logits_.data(), n * classes_) != 0)
      throw std::runtime_error(pleat_error());
    return logits_;
  }

 private:
  struct Free {
    void operator()(pleat_engine* engine) const { pleat_free(engine); }
  };
  std::unique_ptr<pleat_engine, Free> handle_;
  int64_t classes_;
  std::vector<float> logits_;
};

Json predict(const Cli& cli) {
  Network network(cli, 1);
  const Model model = network.model(cli);
  const auto logits = [&](std::span<const float> picture, int64_t n) { return network.run(picture, n); };
  Json pictures = Json::array();
  for (const std::string& file : cli.arguments("[PICTURE...]")) {
    const Prediction p = classify(logits, model, file, cli.integer("top", 1));
    print_prediction(cli.out(), p);
    pictures.push_back(to_json(p));
  }
  return {{"pictures", pictures}};
}

Json eval(const Cli& cli, int64_t batch) {
  Network network(cli, batch);
  const Model model = network.model(cli);
  const Dataset data = load_dataset_for(model, cli.text("data"), Split::test, class_list_option(cli), cli.quiet());
  const auto logits = [&](std::span<const float> images, int64_t n) { return network.run(images, n); };
  Progress progress("eval", "images", data.size(), cli.quiet());
  const Score score = evaluate(data, model, batch, skips_broken(cli), logits, progress);
  print_score(cli.out(), score);
  return to_json(score);
}

Json bench(const Cli& cli, int64_t batch) {
  std::vector<Timed> timed;
  timed.emplace_back(cli.argument("MODEL"), load_model(cli.argument("MODEL")), engine_options(cli, batch));
  time_calls(timed, cli.integer("warmup", 0, 1'000'000), cli.integer("runs", 1, 10'000'000), cli.has("profile"));
  print_report(cli.out(), timed);
  return report(timed[0], timed[0]);
}

int run(int argc, char** argv) {
  Cli cli("pleat-run",
          "Runs a model file by the inference engine: to classify pictures, to score a data set, or to measure the "
          "latency.",
          "pleat-run folded.safetensors cat.png dog.jpg\n"
          "pleat-run folded.safetensors --data cifar10\n"
          "pleat-run folded.safetensors --bench --batch 1 --profile");
  cli.accept_bf16();
  cli.argument("MODEL", "model file");
  cli.argument("[PICTURE...]", "picture files (JPEG, PNG, BMP, PPM or PGM) to classify");
  cli.option("data", "NAME|DIR", "data set whose test split to score");
  cli.flag("bench", "measure the latency on synthetic pictures");
  cli.option("batch", "N", "pictures per call (default: 50 with --data, otherwise 1)");
  declare_engine_tune(cli);
  declare_folder_options(cli);
  declare_view_options(cli);
  cli.option("top", "N", "classes to print for each picture", "5");
  cli.option("warmup", "N", "with --bench: calls before the measurement starts", "10");
  cli.option("runs", "N", "with --bench: measured calls", "200");
  cli.flag("profile", "with --bench: also measure every step, and the peak speed of this machine");
  if (!cli.parse(argc, argv)) return 0;
  const bool pictures = !cli.arguments("[PICTURE...]").empty(), data = cli.has("data"), timing = cli.has("bench");
  if (pictures + data + timing != 1) cli.usage_error("expected one of: pictures, --data, --bench");
  const int64_t batch = cli.has("batch") ? cli.integer("batch", 1, 1 << 16) : data ? kUsualBatch : 1;
  cli.finish(pictures ? predict(cli) : data ? eval(cli, batch) : bench(cli, batch));
  return 0;
}

}  // namespace
}  // namespace pleat

int main(int argc, char** argv) {
  return pleat::run_command([&] { return pleat::run(argc, argv); });
}
