// Runs training, evaluation and prediction on folders of picture files from the command line.
#include <cmath>

#include "core/file.hpp"
#include "models/models.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/run.hpp"
#include "tools/open_model.hpp"

using namespace pleat;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

Result run(const TempDir& dir, const std::string& command) {
  return shell(dir, command + " --threads 2 --quiet --json");
}

void copy_pictures(const TempDir& dir) {
  fs::copy("tests/fixtures/data/folders", dir.path("set"), fs::copy_options::recursive);
}

// A network whose weights are random, for pictures of 32x32.
void write_model(const TempDir& dir, const std::vector<std::string>& classes) {
  DatasetInfo data = usual_dataset("resnet20");
  data.classes = static_cast<int>(classes.size());
  Model model = named_model("resnet20", data, 4);
  model.classes = classes;
  save_model(dir.path("m.safetensors"), model);
}

}  // namespace

TEST_CASE("training on a picture folder repeats and resumes bit for bit, and detects that pictures changed") {
  const TempDir dir;
  copy_pictures(dir);
  const std::string train = "\"$PLEAT\" train resnet20 --data set --epochs 3 --batch 2 --lr 0.05 --seed 5 --out ";
  const Result whole = run(dir, train + "a");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(whole.json()["broken"] == Json::array());
  const Model model = load_model(dir.path("a/model.safetensors"));
  CHECK(model.classes == std::vector<std::string>{"n01", "n02"});
  const Input& input = std::get<Input>(model.graph.nodes[0].op);
  CHECK((input.channels == 3 && input.height == 32 && input.width == 32));

  const Result stopped = shell(dir, train +
                                        "b --threads 2 --quiet & pid=$!; until [ -s b/log.jsonl ]; do sleep 0.01; "
                                        "kill -0 $pid || break; done; kill -KILL $pid; wait $pid");
  CHECK(stopped.code == 128 + 9);
  fs::rename(dir.path("set/val/n01/0.JPEG"), dir.path("kept"));
  check_failure(run(dir, train + "b --resume"), 1, {"b/pictures.index: ", "val/n01/0.JPEG is gone", "--out"});
  fs::rename(dir.path("kept"), dir.path("set/val/n01/0.JPEG"));
  REQUIRE(run(dir, train + "b --resume").code == 0);
  for (const char* file : {"/model.safetensors", "/best.safetensors"})
    CHECK((slurp(dir.path("a") + file) == slurp(dir.path("b") + file)));

  // A broken file ends the run, or with --broken skip it is named and skipped.
  fs::resize_file(dir.path("set/train/n02/1.JPEG"), 300);
  check_failure(run(dir, train + "c"), 1, {"set/train/n02/1.JPEG: "});
  const Result skipped = run(dir, train + "d --broken skip");
  CHECK(skipped.code == 0);
  REQUIRE(skipped.json()["broken"].size() == 1);
  CHECK(skipped.json()["broken"][0].get<std::string>().starts_with("set/train/n02/1.JPEG: "));
}

TEST_CASE("eval on class folders gives the same by the training kernels, the engine, pleat-run and predict") {
  const TempDir dir;
  copy_pictures(dir);
  std::vector<std::string> names, folders;
  for (int i = 0; i < 20; ++i) names.push_back("thing " + std::to_string(i));
  write_model(dir, names);
  std::string list;
  for (int i = 0; i < 20; ++i) list += i == 7 ? "n02\n" : i == 11 ? "n01\n" : "other" + std::to_string(i) + '\n';
  write_file(dir.path("list"), list);
  const std::string rest = " m.safetensors --data set/val";
  check_failure(run(dir, "\"$PLEAT\" eval" + rest), 1, {"has 2 classes, the model 20 outputs", "hint: --class-list"});

  Json kernels = run(dir, "\"$PLEAT\" eval" + rest + " --class-list list").json();
  CHECK(kernels["images"] == 4);
  for (const char* how : {"\"$PLEAT\" eval --engine", "\"$RUN\""}) {
    Json other = run(dir, how + rest + " --class-list list").json();
    CHECK(other["loss"].get<double>() == doctest::Approx(kernels["loss"].get<double>()).epsilon(1e-5));
    CHECK(other["top1"] == kernels["top1"]);
    CHECK(other["top5"] == kernels["top5"]);
  }
  // The loss is that of the class that predict gives the picture, by the same pixels.
  double loss = 0;
  for (const auto& [file, label] : {std::pair{"n01/0", 11}, {"n01/1", 11}, {"n02/0", 7}, {"n02/1", 7}}) {
    Json p = run(dir, std::string("\"$PLEAT\" predict m.safetensors --top 20 set/val/") + file + ".JPEG").json();
    Json picture = p["pictures"][0];
    for (std::size_t c = 0; c < picture["classes"].size(); ++c)
      if (picture["classes"][c] == names[label]) loss -= std::log(picture["scores"][c].get<double>()) / 4;
  }
  CHECK(kernels["loss"].get<double>() == doctest::Approx(loss).epsilon(1e-4));

  // Other views are other numbers, and say so alike.
  Json half = run(dir, "\"$PLEAT\" eval" + rest + " --class-list list --crop 0.5").json();
  Json resized = run(dir, "\"$PLEAT\" eval" + rest + " --class-list list --resize 64").json();
  Json cubic = run(dir, "\"$PLEAT\" eval" + rest + " --class-list list --resize 64 --interpolation bicubic").json();
  CHECK(half["loss"] != kernels["loss"]);
  CHECK(resized["loss"] == half["loss"]);
  CHECK(cubic["loss"] != half["loss"]);
  check_failure(run(dir, "\"$PLEAT\" eval" + rest + " --class-list list --crop 0.5 --resize 64"), 2, {"--crop"});
  check_failure(run(dir, "\"$PLEAT\" eval" + rest + " --class-list list --resize 31"), 2, {"--resize 31"});

  // A model whose classes are the folders' names needs no list.
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) folders.push_back(line);
  write_model(dir, folders);
  CHECK(run(dir, "\"$PLEAT\" eval" + rest).json()["loss"] == kernels["loss"]);

  write_file(dir.path("set/val/n01/2.JPEG"), std::string("no picture"));
  check_failure(run(dir, "\"$PLEAT\" eval" + rest), 1,
                {"set/val/n01/2.JPEG: not a JPEG, PNG, BMP, PPM or PGM picture"});
  Json skipped = run(dir, "\"$RUN\"" + rest + " --broken skip").json();
  CHECK(skipped["images"] == 4);
  CHECK(skipped["broken"].size() == 1);
}

TEST_CASE("data info describes picture folders with one or two splits, and data bench reads one") {
  const TempDir dir;
  copy_pictures(dir);
  Json set = run(dir, "\"$PLEAT\" data info set").json();
  CHECK(set["images"] == 6);
  CHECK(set["test_images"] == 4);
  CHECK(set["class_names"] == Json{"n01", "n02"});
  CHECK(set["mean"].size() == 3);
  Json timed = run(dir, "\"$PLEAT\" data bench set").json();
  CHECK(timed["images"] == 6);
  CHECK(timed["images_per_second"] > 0);
  Json val = run(dir, "\"$PLEAT\" data info set/val").json();
  CHECK(val["images"] == 0);
  CHECK(val["test_images"] == 4);
  CHECK(shell(dir, "\"$PLEAT\" list").out.find("<class>/*") != std::string::npos);
}
