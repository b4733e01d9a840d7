// `pleat verify A B` compares the outputs of two models on the same pictures, number by number.
#include <algorithm>
#include <iomanip>
#include <optional>
#include <ostream>

#include "core/check.hpp"
#include "core/progress.hpp"
#include "data/loader.hpp"
#include "fold/engine/engine.hpp"
#include "fold/proof.hpp"
#include "ops/exec/exec.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/engine_options.hpp"
#include "tools/network_options.hpp"
#include "tools/picture_options.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {
namespace {

constexpr int64_t kMaxBatch = 100;

// The node whose value enters the last global pooling, which is the last value that has borders; -1 if there is none.
int last_map(const Graph& graph) {
  for (int i = graph.output(); i > 0; --i)
    if (std::holds_alternative<GlobalAvgPool>(graph.nodes[i].op)) return graph.nodes[i].inputs[0];
  return -1;
}

// One of the two networks, ready to run by the training kernels or by the engine. The engine shows only the logits.
class Side {
 public:
  Side(const Cli& cli, const char* which, int64_t batch, bool by_engine)
      : model_(open_model(cli.argument(which), cli.seed(), cli.has("data") ? cli.text("data") : "", "",
                          network_options(cli))),
        shapes_(infer_shapes(model_.graph, batch)),
        map_(by_engine ? -1 : last_map(model_.graph)) {
    if (by_engine)
      engine_.emplace(model_, engine_options(cli, batch));
    else
      exec_.emplace(model_.graph, model_.tensors,
                    ExecOptions{.batch = batch,
                                .kernels = cli.kernels(),
                                .keep = map_ < 0 ? std::vector<int>{} : std::vector<int>{map_}});
  }
  const Model& model() const { return model_; }
  const Nhwc& shape(bool map) const { return shapes_[map ? map_ : model_.graph.output()]; }
  bool has_map() const { return map_ >= 0; }
  std::span<const float> run(std::span<const float> images) {
    if (exec_) return exec_->run(images);
    return logits_of(*engine_)(images, shapes_[0].n);
  }
  std::span<const float> map() const { return exec_->value(map_); }

 private:
  Model model_;
  std::vector<Nhwc> shapes_;
  int map_;
  std::optional<Exec> exec_;
  std::optional<Engine> engine_;
};

// How the model was folded at its borders, "reorder" or "exact"; null if it was not folded.
nlohmann::ordered_json borders(const Side& side) {
  const auto note = side.model().notes.find("fold.borders");
  return note == side.model().notes.end() ? nlohmann::ordered_json() : nlohmann::ordered_json(note->second);
}

// Runs both networks on the same n pictures and adds their outputs to the proof.
void compare(Proof& proof, Side& a, Side& b, std::span<const float> images, int64_t n) {
  const int64_t classes = a.shape(false).c;
  const auto first = [&](std::span<const float> values, int64_t each) { return values.first(n * each); };
  const auto logits_a = a.run(images), logits_b = b.run(images);
  proof.add_logits(first(logits_a, classes), first(logits_b, classes), classes);
  if (!a.has_map() || !b.has_map() || a.shape(true) != b.shape(true)) return;
  Nhwc shape = a.shape(true);
  shape.n = n;
  const int64_t each = shape.h * shape.w * shape.c;
  proof.add_maps(first(a.map(), each), first(b.map(), each), shape, 1);
}

// Compares on the test split of --data.
void compare_on_data(Proof& proof, Side& a, Side& b, const Cli& cli, int64_t batch_size) {
  const Dataset data = load_dataset_for(a.model(), cli.text("data"), Split::test, "", cli.quiet());
  Loader loader(data, picture_format(a.model()), {.batch = batch_size, .threads = loader_threads(data)});
  loader.start_epoch(0);
  Progress progress("verify", "images", data.size(), cli.quiet());
  while (const Batch* batch = loader.next()) {
    compare(proof, a, b, batch->images, batch->size);
    progress.update(proof.images());
  }
}

// Compares on `count` pictures of standard normal pixels.
void compare_on_random_pictures(Proof& proof, Side& a, Side& b, int64_t count, int64_t batch_size, uint64_t seed) {
  AlignedVector<float> pixels(infer_shapes(a.model().graph, batch_size)[0].size());
  for (int64_t done = 0; done < count; done += batch_size) {
    Rng rng(seed, done);
    for (float& pixel : pixels) pixel = static_cast<float>(rng.normal());
    compare(proof, a, b, pixels, std::min(batch_size, count - done));
  }
}

}  // namespace

int verify_command(int argc, char** argv) {
  Cli cli("pleat verify",
          "Compares the outputs of two models on the same pictures: the test split of a data set, or random pictures.",
          "pleat verify finetuned.safetensors merged.safetensors --data cifar10\n"
          "pleat verify a.safetensors b.safetensors --random 100\n"
          "pleat verify net.safetensors net.safetensors --data cifar10 --engine --dtype bf16   # tests the engine");
  cli.argument("A", "model file");
  cli.argument("B", "model file");
  cli.option("data", "NAME|DIR", "data set whose test split to use");
  cli.option("random", "N", "without --data: number of random pictures", "100");
  cli.flag("engine",
           "compute B by the inference engine in the precision --dtype; A is computed by the training kernels in f32");
  declare_engine_tune(cli);
  declare_network_options(cli);
  cli.accept_bf16();
  if (!cli.parse(argc, argv)) return 0;
  // The text is asked first, so that the message is the same on a CPU without bf16.
  if (!cli.has("engine") && (cli.text("dtype") == "bf16" || cli.dtype() != Dtype::f32))
    cli.usage_error("--dtype bf16 needs --engine");
  const int64_t random = cli.integer("random", 1, 1'000'000'000);
  const int64_t batch = cli.has("data") ? kMaxBatch : std::min(kMaxBatch, random);
  Side a(cli, "A", batch, false), b(cli, "B", batch, cli.has("engine"));
  const auto same = [&](bool ok, const char* what) {
    PLEAT_CHECK(ok, "verify: ", cli.argument("A"), " and ", cli.argument("B"), " differ in ", what);
  };
  same(a.model().graph.nodes[0].op == b.model().graph.nodes[0].op, "the size of their input");
  same(a.shape(false) == b.shape(false), "the number of outputs");

  Proof proof;
  if (cli.has("data")) {
    same(picture_format(a.model()) == picture_format(b.model()),
         "the preparation of pictures: normalisation, crop or interpolation");
    compare_on_data(proof, a, b, cli, batch);
  } else {
    compare_on_random_pictures(proof, a, b, random, batch, cli.seed());
  }
  cli.out() << std::setprecision(4) << "logits of " << proof.images() << " pictures: the greatest difference is "
            << proof.max_abs_diff() << " (" << proof.max_rel_diff() << " of their range), same top-1 on "
            << 100 * proof.same_top1() << "%\n";
  if (a.has_map() && b.has_map())
    cli.out() << "last value with borders: the greatest difference is " << proof.max_abs_diff_map() << ", "
              << proof.max_abs_diff_interior() << " without the outermost pixels\n";
  if ((borders(a) == "reorder") != (borders(b) == "reorder"))
    cli.out() << "the padding of one of them was moved (fold --borders reorder), so they may differ at the borders\n";
  cli.finish({{"max_abs_diff", proof.max_abs_diff()},
              {"max_rel_diff", proof.max_rel_diff()},
              {"max_abs_diff_map", proof.max_abs_diff_map()},
              {"max_abs_diff_interior", proof.max_abs_diff_interior()},
              {"same_top1", proof.same_top1()},
              {"borders", {borders(a), borders(b)}},
              {"images", proof.images()}});
  return 0;
}

}  // namespace pleat
