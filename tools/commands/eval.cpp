// `pleat eval MODEL --data D` measures the accuracy on a whole split, by the training kernels or by the engine.
#include <memory>
#include <ostream>

#include "core/check.hpp"
#include "data/dataset_for.hpp"
#include "fold/engine/engine.hpp"
#include "ops/exec/exec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/engine_options.hpp"
#include "tools/network_options.hpp"
#include "tools/picture_options.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {

int eval_command(int argc, char** argv) {
  Cli cli("pleat eval", "Measures the accuracy of a model on a whole split of a data set.",
          "pleat eval runs/resnet20/model.safetensors --data cifar10\n"
          "pleat eval folded.safetensors --data cifar10 --engine\n"
          "pleat eval mobilenet.safetensors --data imagenette/val --class-list wnids.txt");
  cli.accept_bf16();
  cli.argument("MODEL", "model file");
  cli.option("data", "NAME|DIR",
             "data set: a name from `pleat list`, its folder, or a folder of class folders with picture files");
  cli.option("split", "test|train", "split of the data set", "test");
  cli.option("batch", "N", "pictures per batch (default: 50)");
  declare_folder_options(cli);
  declare_network_options(cli);
  declare_view_options(cli);
  cli.flag("engine", "use the inference engine instead of the training kernels");
  declare_engine_tune(cli);
  if (!cli.parse(argc, argv)) return 0;
  const Split split = cli.choice("split", {"test", "train"}) == "test" ? Split::test : Split::train;
  if (cli.has("batch")) cli.integer("batch", 1, 1 << 16);
  const std::string class_list = class_list_option(cli);
  Model model = open_model(cli.argument("MODEL"), cli.seed(), cli.text("data"), class_list, network_options(cli));
  set_view(cli, model);
  const int64_t batch = cli.has("batch") ? cli.integer("batch", 1, 1 << 16) : kUsualBatch;
  const Dataset data = load_dataset_for(model, cli.text("data"), split, class_list, cli.quiet());

  // Only one of the two is constructed; `logits` calls it.
  std::unique_ptr<Exec> exec;
  std::unique_ptr<Engine> engine;
  LogitsFunction logits;
  if (cli.has("engine")) {
    engine = std::make_unique<Engine>(model, engine_options(cli, batch));
    logits = logits_of(*engine);
  } else {
    exec = std::make_unique<Exec>(model.graph, model.tensors,
                                  ExecOptions{.batch = batch, .kernels = cli.kernels(), .dtype = cli.dtype()});
    logits = [&](std::span<const float> images, int64_t) { return exec->run(images); };
  }
  Progress progress("eval", "images", data.size(), cli.quiet());
  const Score score = evaluate(data, model, batch, skips_broken(cli), logits, progress);
  print_score(cli.out(), score);
  cli.finish(to_json(score));
  return 0;
}

}  // namespace pleat
