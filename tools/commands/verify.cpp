// `pleat verify A B` compares the outputs of two models on the same pictures, number by number.
#include <algorithm>
#include <iomanip>
#include <optional>
#include <ostream>

#include "core/progress.hpp"
#include "core/rng.hpp"
#include "data/dataset_for.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/engine_options.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/train/compare_models.hpp"

namespace pleat {
namespace {

constexpr int64_t kMaxBatch = 100;

// A note on where the model comes from; null if there is none.
nlohmann::ordered_json note(const Model& model, const char* key) {
  const auto found = model.notes.find(key);
  return found == model.notes.end() ? nlohmann::ordered_json() : nlohmann::ordered_json(found->second);
}

// What fold said: the handling of borders, "reorder" or "exact", and the number of fitted convolutions.
nlohmann::ordered_json borders(const Model& model) {
  return note(model, "fold.borders");
}
nlohmann::ordered_json fitted(const Model& model) {
  return note(model, "fold.fit");
}

// Compares on `count` pictures of standard normal pixels.
void compare_on_random_pictures(Comparison& comparison, const Graph& graph, int64_t count, int64_t batch_size,
                                uint64_t seed) {
  AlignedVector<float> pixels(infer_shapes(graph, batch_size)[0].size());
  for (int64_t done = 0; done < count; done += batch_size) {
    Rng rng(seed, done);
    for (float& pixel : pixels) pixel = static_cast<float>(rng.normal());
    comparison.add(pixels, std::min(batch_size, count - done));
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
  const auto open = [&](const char* argument) {
    return open_model(cli.argument(argument), cli.seed(), cli.has("data") ? cli.text("data") : "", "",
                      network_options(cli));
  };
  const Model a = open("A"), b = open("B");
  Comparison comparison(a, b, batch, cli.kernels(),
                        cli.has("engine") ? std::optional(engine_options(cli, batch)) : std::nullopt);
  if (cli.has("data")) {
    const Dataset data = load_dataset_for(a, cli.text("data"), Split::test, "", cli.quiet());
    Progress progress("verify", "images", data.size(), cli.quiet());
    comparison.add(data, progress);
  } else {
    compare_on_random_pictures(comparison, a.graph, random, batch, cli.seed());
  }
  const Proof& proof = comparison.proof();
  cli.out() << std::setprecision(4) << "logits of " << proof.images() << " pictures: the greatest difference is "
            << proof.max_abs_diff() << " (" << proof.max_rel_diff() << " of their range), same top-1 on "
            << 100 * proof.same_top1() << "%\n";
  if (comparison.compares_maps())
    cli.out() << "last value with borders: the greatest difference is " << proof.max_abs_diff_map() << ", "
              << proof.max_abs_diff_interior() << " without the outermost pixels\n";
  if (fitted(a) != fitted(b))
    cli.out() << "they are not the same function: convolutions of one of them were fitted, not merged (fold --fit). "
              << "The root mean square difference is " << 100 * proof.rms_rel_diff()
              << "% of the logits' standard deviation\n";
  if ((borders(a) == "reorder") != (borders(b) == "reorder"))
    cli.out() << "the padding of one of them was moved (fold --borders reorder), so they may differ at the borders\n";
  cli.finish({{"max_abs_diff", proof.max_abs_diff()},
              {"max_rel_diff", proof.max_rel_diff()},
              {"max_abs_diff_map", proof.max_abs_diff_map()},
              {"max_abs_diff_interior", proof.max_abs_diff_interior()},
              {"rms_rel_diff", proof.rms_rel_diff()},
              {"same_top1", proof.same_top1()},
              {"borders", {borders(a), borders(b)}},
              {"fitted", {fitted(a), fitted(b)}},
              {"images", proof.images()}});
  return 0;
}

}  // namespace pleat
