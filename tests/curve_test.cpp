// `pleat curve`: the whole experiment from outside on a tiny data set, killed anywhere; and its parts: what is restored
// for fading, which depths and epochs are planned, what is refused.
#include "core/rng.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "ops/exec/exec.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/cifar_files.hpp"
#include "tests/error_of.hpp"
#include "tests/run.hpp"
#include "tools/train/curve_plan.hpp"
#include "tools/train/fade.hpp"
#include "tools/train/named_model.hpp"

using namespace pleat;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// Two epochs each, so that there is something to be killed in.
const std::string kRecipe = R"({"about": "tiny", "train": {"epochs": 2, "batch": 16, "lr": 0.05},
  "prefold": {"epochs": 2, "batch": 16, "lr": 0.01}, "finetune": {"epochs": 2, "batch": 16, "lr": 0.01}})";
const std::string kOptions =
    " --data cifar10 --threads 2 --seed 5 --seconds 0 --tune off --recipe ./tiny.json --quiet --json";

struct Folder : TempDir {
  Folder() {
    write_cifar(*this, 80, 20);
    std::ofstream(path("tiny.json")) << kRecipe;
  }
};

Result run(const TempDir& dir, const std::string& arguments) {
  return shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + arguments + kOptions);
}

// curve.json without what is measured.
Json curve_of(const TempDir& dir, const std::string& out) {
  Json curve = Json::parse(slurp(dir.path(out + "/curve.json")), nullptr, false);
  const auto clean = [](Json& entry) {
    for (const char* field : {"seconds", "latency_ms", "latency_ms_base", "latency_ms_kept"}) entry.erase(field);
  };
  clean(curve["base"]), clean(curve["prefold"]);
  for (Json& point : curve["points"]) clean(point);
  return curve;
}

// The files of an experiment that stay.
std::vector<std::string> models_of(const TempDir& dir, const std::string& out) {
  std::vector<std::string> files;
  for (const fs::directory_entry& file : fs::recursive_directory_iterator(dir.path(out)))
    if (file.path().extension() == ".safetensors") files.push_back(fs::relative(file.path(), dir.path(out)));
  std::ranges::sort(files);
  return files;
}

void check_same_curve(const TempDir& dir, const std::string& a, const std::string& b) {
  CHECK(curve_of(dir, a) == curve_of(dir, b));
  CHECK(models_of(dir, a) == models_of(dir, b));
  for (const std::string& file : models_of(dir, a)) {
    CAPTURE(file);
    CHECK((slurp(dir.path(a + "/" + file)) == slurp(dir.path(b + "/" + file))));
  }
}

}  // namespace

TEST_CASE("curve: base, alphas and depths, whole or killed anywhere") {
  const Folder dir;
  const std::string curve = "curve resnet20 --depths 18,12,17 --out ";
  const Result whole = run(dir, curve + "whole");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  const Json points = whole.json()["points"], base = whole.json()["base"];
  REQUIRE(points.size() == 3);
  CHECK(base["depth"] == 20);
  for (std::size_t i = 0; i < 3; ++i) {
    const Json& point = points[i];
    CHECK(point["depth"] == std::vector{18, 17, 12}[i]);
    const std::string mask = point["mask"];
    CHECK(std::ranges::count(mask, '#') + 2 == point["depth"]);  // and the stem's
    if (i > 0)                                                   // each goes on from the one before
      for (std::size_t cell = 0; cell < mask.size(); ++cell)
        CHECK((points[i - 1]["mask"].get<std::string>()[cell] == '#' || mask[cell] == '.'));
    CHECK(point["max_rel_diff"] < 1e-4);
    CHECK(point["convs"] <= point["convs_kept"]);
    if (point["depth"] == 12) CHECK(point["convs"] < point["convs_kept"]);
    CHECK(point["latency_ms"] > 0);
    CHECK(point["latency_ms_base"] > 0);
    const Model kept = load_model(dir.path("whole/" + point["kept"].get<std::string>()));
    const Model merged = load_model(dir.path("whole/" + point["merged"].get<std::string>()));
    CHECK(depth(merged.graph) == point["depth"]);
    CHECK(conv_count(merged.graph) == point["convs"]);
    CHECK(conv_count(kept.graph) == point["convs_kept"]);
    CHECK(Json::parse(merged.notes.at("recipe"))["recipe"] == "tiny");
    const Result scored = shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" eval whole/" +
                                         point["merged"].get<std::string>() + " --data cifar10 --quiet --json");
    CHECK(scored.json()["top1"] == point["top1"]);
  }
  // What training needed is gone, what it made is there.
  CHECK(models_of(dir, "whole").size() == 2 + 2 * 3);
  const std::string log = slurp(dir.path("whole/log.jsonl"));
  CHECK(std::ranges::count(log, '\n') == 2 * 5);
  const Json last = Json::parse(log.substr(log.rfind('\n', log.size() - 2) + 1));
  CHECK(last["epoch"] == 10);
  CHECK(last["epochs"] == 10);
  CHECK(last["seconds_left"] == 0);

  // A finished experiment is read, not repeated.
  const std::string file = slurp(dir.path("whole/curve.json"));
  CHECK(run(dir, curve + "whole").json()["points"] == points);
  CHECK(slurp(dir.path("whole/curve.json")) == file);

  // kill -9 again and again, at moments that hit training, folding, proof and timing.
  int kills = 0;
  for (double seconds = 0.3; kills < 50; seconds *= 1.25) {
    const Result killed = shell(dir, "export PLEAT_DATA=.; timeout -s KILL " + std::to_string(seconds) +
                                         " \"$PLEAT\" " + curve + "killed" + kOptions);
    if (killed.code == 0) break;
    REQUIRE(killed.code == 128 + 9);
    ++kills;
  }
  CHECK(kills > 3);
  check_same_curve(dir, "whole", "killed");

  // Ctrl-C: said how to go on.
  const Result stopped = shell(dir, "export PLEAT_DATA=.; timeout -s INT 1 \"$PLEAT\" " + curve + "stopped" + kOptions);
  if (stopped.code == 130) CHECK(stopped.err.find("hint: the same command goes on") != std::string::npos);
  REQUIRE(run(dir, curve + "stopped").code == 0);
  check_same_curve(dir, "whole", "stopped");
}

TEST_CASE("curve: from a trained model, without a base of its own") {
  const Folder dir;
  REQUIRE(run(dir, "curve resnet20 --depths 18 --out a").code == 0);
  const Result given = run(dir, "curve a/base/model.safetensors --depths 18 --out b");
  CAPTURE(given.err);
  REQUIRE(given.code == 0);
  CHECK(given.json()["base"]["epochs"] == 0);
  CHECK(given.json()["base"]["top1"] == curve_of(dir, "a")["base"]["top1"]);
  CHECK(given.json()["points"][0]["mask"] == curve_of(dir, "a")["points"][0]["mask"]);
  // Another model under the same name is not what it began with.
  fs::copy_file(dir.path("a/prefold/model.safetensors"), dir.path("a/base/model.safetensors"),
                fs::copy_options::overwrite_existing);
  check_failure(run(dir, "curve a/base/model.safetensors --depths 18 --out b"), 1, {"a/base/model.safetensors", "b"});
}

TEST_CASE("curve: what cannot be done is refused, and nothing is lost") {
  const Folder dir;
  check_failure(run(dir, "curve resnet20 --depths 20 --out o"), 1, {"depth 20", "2 to 19"});
  check_failure(run(dir, "curve resnet20 --depths 12,1 --out o"), 1, {"depth 1,", "2 to 19"});
  check_failure(run(dir, "curve resnet20 --depths 12,x --out o"), 2, {"--depths 12,x"});
  check_failure(run(dir, "curve resnet20 --depths '' --out o"), 2, {"--depths"});
  check_failure(run(dir, "curve resnet20 --budget 0.0001 --out o"), 1, {"budget of 0 s", "one depth", "needed"});
  check_failure(run(dir, "curve resnet20 --budget 0.0001 --depths 12,11 --out o"), 1, {"these 2 depths"});
  check_failure(run(dir, "curve resnet20 --fade 2 --out o"), 2, {"--fade 2"});
  CHECK(!fs::exists(dir.path("o")));
  fs::create_directories(dir.path("full"));
  std::ofstream(dir.path("full/thesis.txt")) << "keep me";
  check_failure(run(dir, "curve resnet20 --depths 12 --out full"), 1, {"full: ", "something else", "hint"});
  CHECK(slurp(dir.path("full/thesis.txt")) == "keep me");

  const std::string curve = "curve resnet20 --depths 18 --out c";
  REQUIRE(run(dir, curve).code == 0);
  const std::string file = slurp(dir.path("c/curve.json"));
  check_failure(run(dir, "curve resnet32 --depths 18 --out c"), 1, {"c/curve.json", "network", "resnet20", "resnet32"});
  check_failure(run(dir, "curve resnet20 --depths 17 --out c"), 1, {"c/curve.json", "depths", "18", "17"});
  check_failure(run(dir, curve + " --fade 0.5"), 1, {"c/curve.json", "fade"});
  check_failure(
      shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + curve +
                     " --data cifar10 --threads 1 --seed 5 --seconds 0 --tune off --recipe ./tiny.json --quiet"),
      1, {"c/curve.json", "settings.train.threads"});
  std::string other = kRecipe;
  other.replace(other.find("0.05"), 4, "0.06");
  std::ofstream(dir.path("tiny.json")) << other;
  check_failure(run(dir, curve), 1, {"c/curve.json", "settings.train.lr", "0.05", "0.06"});
  std::ofstream(dir.path("tiny.json")) << kRecipe;
  CHECK(slurp(dir.path("c/curve.json")) == file);
  for (const std::size_t keep : {std::size_t{0}, std::size_t{30}, file.size() / 2, file.size() - 3}) {
    std::ofstream(dir.path("c/curve.json")) << file.substr(0, keep);
    check_failure(run(dir, curve), 1, {"c/curve.json: cut short"});
    CHECK(fs::exists(dir.path("c/depth-18/kept.safetensors")));
  }
  std::ofstream(dir.path("c/curve.json")) << "{}";
  check_failure(run(dir, curve), 1, {"c/curve.json: not a curve's file"});
}

TEST_CASE("curve: default depths end where the paper stops") {
  CHECK(smallest_depth("resnet20", "cifar10", 19) == 9);
  CHECK(smallest_depth("mobilenet_v2_1.4_cifar", "cifar100", 18) == 12);
  CHECK(smallest_depth("resnet20", "my/pictures", 19) == 10);
  CHECK(spaced_depths(19, 9, 10) == std::vector{18, 17, 16, 15, 14, 13, 12, 11, 10, 9});
  CHECK(spaced_depths(55, 10, 10) == std::vector{50, 46, 41, 37, 32, 28, 23, 19, 14, 10});
  CHECK(spaced_depths(12, 9, 10) == std::vector{11, 10, 9});
  CHECK(spaced_depths(9, 9, 10).empty());
}

TEST_CASE("curve: a budget scales the epochs, then thins the depths out, then is too small") {
  const CurveEpochs recipe{.base = 40, .prefold = 6, .depth = 5};
  const CurveCosts costs{.epoch = 10, .depth_epoch = 14, .depth_rest = 30};
  const std::vector<int> ten = spaced_depths(19, 9, 10);
  for (double budget = 80; budget < 3000; budget += 7) {
    CAPTURE(budget);
    std::vector<int> depths = ten;
    const CurveEpochs epochs = fit_budget(recipe, costs, budget, false, depths);
    CHECK(costs.seconds(epochs, std::ssize(depths)) <= budget);
    CHECK(std::min({epochs.base, epochs.prefold, epochs.depth}) >= 1);
    CHECK(depths.back() == 9);
    CHECK(std::ranges::is_sorted(depths, std::greater()));
    if (budget > 500) CHECK(depths == ten);
  }
  std::vector<int> depths = ten;
  const CurveEpochs whole = fit_budget(recipe, costs, costs.seconds(recipe, 10), true, depths);
  CHECK(whole.base == 40);
  CHECK(whole.prefold == 6);
  CHECK(whole.depth == 5);
  CHECK(error_of<std::invalid_argument>([&] {
          fit_budget(recipe, costs, 60, false, depths);
        }).find("too small for one depth") != std::string::npos);
  CHECK(error_of<std::invalid_argument>([&] {
          fit_budget(recipe, costs, 100, true, depths);
        }).find("these 10 depths") != std::string::npos);
}

TEST_CASE("fading: restored activations with alpha 1 are the folded network, and start as the one before") {
  for (const char* name : {"resnet20", "vgg16_bn", "mobilenet_v2_0.75_cifar"}) {
    CAPTURE(name);
    Model model = named_model(name, dataset_info("cifar10"), 3);
    Rng rng(4);
    for (const Foldable& f : foldable_activations(model))
      model.tensors.at(f.alpha).values[0] = static_cast<float>(0.5 * rng.uniform());
    const Folded folded = fold(model, {.depth = 10, .merge = FoldOptions::Merge::none});
    Model restored = restore_activations(folded.model, model);
    CHECK(depth(restored.graph) == depth(model.graph));
    CHECK(foldable_activations(restored).size() == foldable_activations(model).size());
    CHECK(restored.notes == folded.model.notes);

    std::vector<std::string> gone;
    for (const Foldable& f : foldable_activations(model))
      if (!folded.model.tensors.contains(f.alpha)) gone.push_back(f.alpha);
    Fade fade(restored, gone, 4);
    const std::string& first = gone.front();
    const float start = model.tensors.at(first).values[0];
    fade.apply(0);
    CHECK(restored.tensors.at(first).values[0] == doctest::Approx(start + (1 - start) / 4));
    fade.apply(1);
    CHECK(restored.tensors.at(first).values[0] == doctest::Approx(start + (1 - start) / 2));
    fade.apply(3);
    Model after = folded.model;
    AlignedVector<float> pictures(2 * 32 * 32 * 3);
    for (float& pixel : pictures) pixel = static_cast<float>(rng.normal());
    Exec a(restored.graph, restored.tensors, {.batch = 2}), b(after.graph, after.tensors, {.batch = 2});
    const std::span<const float> x = a.run(pictures), y = b.run(pictures);
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == doctest::Approx(y[i]).epsilon(1e-5));
    for (const std::string& alpha : gone) CHECK(restored.tensors.at(alpha).values[0] == 1);

    std::string mask;
    for (const Foldable& f : foldable_activations(restored))
      mask += std::ranges::find(gone, f.alpha) == gone.end() ? '#' : '.';
    CHECK(drop_activations(restored, mask).graph == folded.model.graph);
  }
}
