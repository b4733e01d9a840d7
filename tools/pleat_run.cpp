// `pleat-run MODEL (PICTURE... | --data D | --bench)`: the inference engine alone. Links oneDNN and nothing that
// trains.
#include <algorithm>
#include <iomanip>
#include <ostream>

#include "data/dataset.hpp"
#include "fold/engine.hpp"
#include "ops/model_file.hpp"
#include "tools/classify.hpp"
#include "tools/cli.hpp"
#include "tools/engine_options.hpp"
#include "tools/evaluate.hpp"
#include "tools/latency.hpp"
#include "tools/picture_options.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

Json predict(const Cli& cli, const Model& model) {
  Engine engine(model, engine_options(cli, 1));
  Json pictures = Json::array();
  for (const std::string& file : cli.arguments("[PICTURE...]")) {
    const Prediction p = classify(engine, model, file, cli.integer("top", 1));
    print_prediction(cli.out(), p);
    pictures.push_back(to_json(p));
  }
  return {{"pictures", pictures}};
}

Json eval(const Cli& cli, const Model& model, int64_t batch) {
  const Dataset data = load_dataset_for(model, cli.text("data"), Split::test, class_list_option(cli), cli.quiet());
  Engine engine(model, engine_options(cli, batch));
  const auto logits = [&](std::span<const float> images, int64_t) {
    std::copy(images.begin(), images.end(), engine.input().begin());
    return engine.run();
  };
  Progress progress("eval", "images", data.size(), cli.quiet());
  const Score score = evaluate(data, model, batch, skips_broken(cli), logits, progress);
  print_score(cli.out(), score);
  return to_json(score);
}

Json bench(const Cli& cli, const Model& model, int64_t batch) {
  std::vector<Timed> timed;
  timed.emplace_back(cli.argument("MODEL"), model, engine_options(cli, batch));
  time_calls(timed, cli.integer("warmup", 0, 1'000'000), cli.integer("runs", 1, 10'000'000), cli.has("profile"));
  print_report(cli.out(), timed);
  return report(timed[0], timed[0]);
}

int run(int argc, char** argv) {
  Cli cli("pleat-run", "Runs a model file with the inference engine alone: on pictures, on a data set, or for time.",
          "pleat-run folded.safetensors cat.png dog.jpg\n"
          "pleat-run folded.safetensors --data cifar10\n"
          "pleat-run folded.safetensors --bench --batch 1");
  cli.accept_bf16();
  cli.argument("MODEL", "model file");
  cli.argument("[PICTURE...]", "JPEG or PNG files to classify");
  cli.option("data", "NAME|DIR", "data set whose test split to score");
  cli.flag("bench", "time calls on synthetic pictures");
  cli.option("batch", "N", "pictures a call (default: 250 with --data, 50 if they are large, else 1)");
  declare_engine_tune(cli);
  declare_folder_options(cli);
  declare_view_options(cli);
  cli.option("top", "N", "classes to print for each picture", "5");
  cli.option("warmup", "N", "calls before --bench that do not count", "10");
  cli.option("runs", "N", "calls of --bench", "200");
  cli.flag("profile", "with --bench: time every step, too, and what this machine can do at best");
  if (!cli.parse(argc, argv)) return 0;
  const bool pictures = !cli.arguments("[PICTURE...]").empty(), data = cli.has("data"), timing = cli.has("bench");
  if (pictures + data + timing != 1) cli.usage_error("expected one of: pictures, --data, --bench");
  if (cli.has("batch")) cli.integer("batch", 1, 1 << 16);
  Model model = load_model(cli.argument("MODEL"));
  set_view(cli, model);
  const int64_t batch = cli.has("batch") ? cli.integer("batch", 1, 1 << 16) : data ? usual_batch(model) : 1;
  cli.finish(pictures ? predict(cli, model) : data ? eval(cli, model, batch) : bench(cli, model, batch));
  return 0;
}

}  // namespace
}  // namespace pleat

int main(int argc, char** argv) {
  return pleat::run_command([&] { return pleat::run(argc, argv); });
}
