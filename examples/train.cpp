// Trains a small residual network, folds it to half its depth, fine-tunes and merges it: what the commands train,
// prefold, fold and finetune do, as a C++ program. Usage: train DATA EPOCHS FOLDER, for example `train cifar10 10 run`.
//
// After `make install` (into /usr/local, or into the PREFIX you gave):
//   g++ -std=c++20 -O2 -I $PREFIX/include/pleat examples/train.cpp $PREFIX/lib/libpleat.a $LIBS -o train
// with LIBS="-lopenblas -ldnnl -lgomp -ljpeg -lz"; in the source tree, after `make`, with -I . and build/libpleat.a
// instead.
#include <cstdio>
#include <exception>
#include <string>

#include "fold/fold.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/train/trainer.hpp"

using namespace pleat;

// Convolution, batch norm and an activation that may be folded away: it has an alpha, called `name`.alpha.
int conv_norm_act(Graph& graph, const std::string& name, int input, int channels, int stride = 1) {
  const Conv2d conv{.out = channels, .kernel = 3, .stride = stride, .pad = Padding::uniform(1)};
  const int x = graph.add(name + ".bn", BatchNorm{}, {graph.add(name + ".conv", conv, {input})});
  return graph.add(name + ".act", AlphaAct{.s = Nonlinearity::relu, .alpha = name + ".alpha"}, {x});
}

// Three stages of two convolutions each, with a skip around the second one.
Graph small_resnet(const DatasetInfo& data) {
  Graph graph;
  int x = graph.add("input", Input{data.channels, data.height, data.width}, {});
  for (const int channels : {16, 32, 64}) {
    const std::string stage = "stage" + std::to_string(channels);
    const int first = conv_norm_act(graph, stage + ".0", x, channels, channels == 16 ? 1 : 2);
    x = graph.add(stage + ".add", Add{}, {conv_norm_act(graph, stage + ".1", first, channels), first});
  }
  x = graph.add("pool", GlobalAvgPool{}, {x});
  graph.add("classifier", Linear{.out = data.classes}, {x});
  return graph;
}

// One of the three kinds of training, with its usual settings but for these.
Recipe recipe(const char* command, const std::string& data, int64_t epochs, double lr) {
  Recipe recipe = usual_recipe(command);
  recipe.model = "small_resnet";
  recipe.data = data;
  recipe.epochs = epochs;
  recipe.batch = 16;
  recipe.lr = lr;
  return recipe;
}

void run(const std::string& data, int64_t epochs, const std::string& folder) {
  const DatasetInfo info = dataset_info(data);
  Model model = new_model(small_resnet(info), info, /*seed=*/1);

  const Recipe train = recipe("train", data, epochs, 0.05);
  const TrainingData pictures = load_training_data(model, train, /*quiet=*/false);
  run_training(model, pictures, train, folder + "/base");
  const Model teacher = model;

  run_training(model, pictures, recipe("prefold", data, epochs, 0.01), folder + "/prefold");

  // Without the activations whose alphas are largest, and ready to be merged exactly after fine-tuning.
  Model folded = fold(model, {.depth = (depth(model.graph) + 1) / 2, .merge = FoldOptions::Merge::none}).model;
  Recipe finetune = recipe("finetune", data, epochs, 0.02);
  finetune.teacher = "base";
  const TrainResult result = run_training(folded, pictures, finetune, folder + "/finetune", {.teacher = &teacher});

  const Model merged = fold(folded, {}).model;
  save_model(folder + "/merged.safetensors", merged);
  std::printf("depth %d -> %d, convolutions %d -> %d, top-1 %.2f%%\n", depth(teacher.graph), depth(merged.graph),
              conv_count(teacher.graph), conv_count(merged.graph), 100 * result.top1);
}

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: train DATA EPOCHS FOLDER\n"), 2;
  try {
    run(argv[1], std::stoll(argv[2]), argv[3]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "train: %s\n", error.what()), 1;
  }
}
