// Runs the programs as a user or a script does, and checks their exit codes, errors and JSON results, and that they
// never leave an incomplete file behind.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.hpp"
#include "core/safetensors.hpp"
#include "models/models.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/run.hpp"
#include "tests/temp_dir.hpp"
#include "tools/open_model.hpp"

using namespace pleat;
namespace fs = std::filesystem;
using Json = nlohmann::json;  // results are not const, so that a missing field is null and does not abort

namespace {

Result pleat_command(const TempDir& dir, const std::string& arguments) {
  return shell(dir, "\"$PLEAT\" " + arguments);
}

void write_idx(const std::string& stem, int count, int seed) {
  const auto word = [](int n) { return std::string{char(n >> 24), char(n >> 16), char(n >> 8), char(n)}; };
  std::string images = word(0x803) + word(count) + word(28) + word(28), labels = word(0x801) + word(count);
  for (int i = 0; i < count; ++i) {
    const int label = (i + seed) % 10;
    labels += static_cast<char>(label);
    for (int p = 0; p < 28 * 28; ++p) images += static_cast<char>(p / 28 / 3 == label ? 200 : (p * 7 + i * 13) % 40);
  }
  write_file(stem + "-images-idx3-ubyte", images);
  write_file(stem + "-labels-idx1-ubyte", labels);
}

// A data set of pictures with a bar whose position is the class: 64 for training, 32 for testing.
void write_dataset(const TempDir& dir) {
  fs::create_directories(dir.path("mnist"));
  write_idx(dir.path("mnist/train"), 64, 0);
  write_idx(dir.path("mnist/t10k"), 32, 3);
}

// A small network with initial weights for MNIST's pictures.
Model small_model() {
  return named_model("resnet20", dataset_info("mnist"), 7);
}

int files_in(const std::string& dir) {
  return static_cast<int>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

const std::vector<std::string> kCommands = {"train",   "prefold", "fold",  "finetune", "eval",   "verify",
                                            "inspect", "predict", "bench", "import",   "export", "data",
                                            "list",    "doctor",  "plan",  "curve",    "report"};

}  // namespace

TEST_CASE("every command has help with an example") {
  const TempDir dir;
  const Result all = pleat_command(dir, "--help");
  CHECK(all.code == 0);
  for (const std::string& command : kCommands) {
    CAPTURE(command);
    CHECK(all.out.find("\n  " + command + " ") != std::string::npos);
    const Result r = pleat_command(dir, command + " --help");
    CHECK(r.code == 0);
    CHECK(r.err.empty());
    CHECK(r.out.find("Usage:") != std::string::npos);
    CHECK(r.out.find("--threads") != std::string::npos);
    CHECK(r.out.find("\n  pleat " + command + " ", r.out.find("Examples:")) != std::string::npos);
  }
  CHECK(pleat_command(dir, "--version").out == "pleat 0.1.0\n");
}

TEST_CASE("wrong usage exits with 2, says what is wrong and points to the help") {
  const TempDir dir;
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "missing command"},
      {"fly", "unknown command 'fly'"},
      {"inspcet resnet20", "unknown command 'inspcet', did you mean 'inspect'?"},
      {"inspect resnet20 --threds 2", "does not exist, did you mean 'threads'?"},
      {"inspect", "missing argument MODEL"},
      {"inspect resnet20 resnet32", "unexpected argument 'resnet32'"},
      {"inspect resnet20 --wings", "wings"},
      {"inspect resnet20 --threads 0", "--threads 0"},
      {"inspect resnet20 --threads two", "--threads two"},
      {"inspect resnet20 --threads", "threads"},
      {"inspect resnet20 --seed -1", "--seed -1"},
      {"inspect resnet20 --dtype f16", "--dtype f16"},
      {"inspect resnet20 --dtype bf16", "expected one of f32"},
      {"train resnet20 --data mnist --out o --dtype f16", "auto, f32, bf16"},
      {"bench resnet20 --dtype f32,f16", "a list of auto, f32, bf16"},
      {"bench resnet20 --dtype f32,f32 --training", "expected only one precision"},
      {"eval resnet20 --data mnist --dtype f32,f32", "one of auto, f32, bf16"},
      {"inspect resnet20 --kernels mine", "native, onednn"},
      {"fold resnet20 --out f.safetensors --threshold 2", "--threshold 2"},
      {"fold resnet20 --out f.safetensors --threshold nan", "--threshold nan"},
      {"fold resnet20", "--out"},
      {"fold resnet20 --out f.safetensors --point 1", "expected --plan"},
      {"fold resnet20 --out f.safetensors --plan p.json --mask '#'", "neither --mask nor --threshold"},
      {"fold resnet20 --out f.safetensors --plan p.json --merge latency", "--merge all"},
      {"fold resnet20 --out f.safetensors --plan p.json --fit .", "--mask, --depth or --threshold"},
      {"fold resnet20 --out f.safetensors --fit . --merge latency", "all, cheaper or none"},
      {"fold resnet20 --out f.safetensors --fit . --borders exact", "no --borders"},
      {"fold resnet20 --out f.safetensors --pictures 5", "expected --fit"},
      {"plan resnet20", "--out"},
      {"plan resnet20 --out p.json --max-drop 1 --min-speedup 2", "expected at most one"},
      {"plan resnet20 --out p.json --importance chance", "auto, alphas, pictures"},
      {"plan resnet20 --out p.json --seconds -1", "--seconds -1"},
      {"plan resnet20 --out p.json --batch 0", "--batch 0"},
      {"train resnet20 --data mnist --out o --lr nan", "--lr nan"},
      {"train resnet20 --data mnist --out o --lr inf", "--lr inf"},
      {"train resnet20 --data mnist --out o --lr -1", "--lr -1"},
      {"train resnet20 --data mnist --out o --epochs 0", "--epochs 0"},
      {"train resnet20 --data mnist --out o --epochs 1.5", "--epochs 1.5"},
      {"train resnet20 --data mnist --out o --batch 1e3", "--batch 1e3"},
      {"train resnet20 --data mnist --out o --schedule sawtooth", "--schedule sawtooth"},
      {"train resnet20 --data mnist", "--out"},
      {"train resnet20 --out o", "--data"},
      {"eval resnet20", "--data"},
      {"eval resnet20 --data mnist --split validation", "test, train"},
      {"import f.safetensors --out o", "--model"},
      {"import f.safetensors --model resnet20 --out o --mean 1,x,3", "--mean 1,x,3"},
      {"data", "missing argument"},
  };
  for (const auto& [arguments, part] : wrong) {
    CAPTURE(arguments);
    check_failure(pleat_command(dir, arguments), 2, {part, "\nhint: "});
  }
  CHECK(files_in(dir.path()) == 2);  // only stdout and stderr
}

TEST_CASE("a failure exits with 1 and says which file or name caused it and why") {
  const TempDir dir;
  write_file(dir.path("text"), std::string("hello"));
  write_file(dir.path("empty.safetensors"), std::string());
  const std::vector<std::pair<std::string, std::vector<std::string>>> failing = {
      {"inspect resnet21", {"resnet21", "pleat list"}},
      {"inspect absent.safetensors", {"absent.safetensors", "No such file"}},
      {"inspect .", {"is a folder"}},
      {"inspect text", {"text: "}},
      {"inspect empty.safetensors", {"empty.safetensors: "}},
      {"eval resnet20 --data cifar10", {"cifar10", "searched", "pleat data fetch cifar10"}},
      {"eval resnet20 --data nowhere", {"nowhere"}},
      {"train resnet20 --data cifar10 --out o", {"cifar10", "pleat data fetch"}},
      {"fold resnet20 --plan text --out o", {"text: "}},
      {"fold resnet20 --fit nowhere --out o", {"nowhere"}},
      {"plan resnet20 --importance alphas --out o", {"all alphas are 0", "pleat prefold"}},
      {"predict absent.safetensors text", {"absent.safetensors"}},
      {"data info bird", {"bird"}},
      {"import text --model resnet20 --out o", {"text: "}},
      {"import text --model resnet21 --out o", {"resnet21"}},
  };
  for (const auto& [arguments, parts] : failing) {
    CAPTURE(arguments);
    check_failure(shell(dir, "unset PLEAT_DATA; \"$PLEAT\" " + arguments), 1, parts);
  }
  CHECK(!fs::exists(dir.path("o")));
}

TEST_CASE("--json prints one object on the last line of standard output and other text on standard error") {
  const TempDir dir;
  const Result list = pleat_command(dir, "list --json");
  CHECK(list.code == 0);
  CHECK(std::count(list.out.begin(), list.out.end(), '\n') == 1);
  CHECK(list.json()["command"] == "list");
  CHECK(list.json()["version"] == "0.1.0");
  CHECK(list.json()["models"] == model_names());
  CHECK(list.err.find("resnet20") != std::string::npos);

  const Result inspect = pleat_command(dir, "inspect resnet20 --json");
  Json json = inspect.json();
  CHECK(inspect.code == 0);
  CHECK(json["command"] == "inspect");
  CHECK(json["model"] == "resnet20");
  CHECK(json["depth"] == 20);
  CHECK(json["convs"] == 19);
  CHECK(json["macs"] == 40'551'040);
  CHECK(json["params"] == 269'722);
  CHECK(json["alphas"].size() == 18);
  CHECK(json["alphas"]["layer1.0.alpha1"] == 0);
  CHECK(json["input"]["height"] == 32);
  CHECK(json["nodes"].size() == make_model("resnet20", {3, 32, 32}, 10).nodes.size());

  Json doctor = pleat_command(dir, "doctor --json --threads 1").json();
  CHECK(doctor["threads"] == 1);
  CHECK(doctor["self_test"]["passed"] == true);
}

TEST_CASE("options set a named network's width, classes and input size, and are refused for a model file") {
  const TempDir dir;
  const std::string options = " --width 0.5 --classes 7 --input-size 16 ";
  Json json = pleat_command(dir, "inspect mobilenet_v2_1.0_cifar --json" + options).json();
  CHECK(json["width"] == 0.5);
  CHECK(json["classes"] == 7);
  CHECK(json["input"]["height"] == 16);
  const int64_t params = json["params"];
  REQUIRE(pleat_command(dir, "fold mobilenet_v2_1.0_cifar --merge none --out f.safetensors" + options).code == 0);
  CHECK(pleat_command(dir, "inspect f.safetensors --json").json()["params"] == params);
  json = pleat_command(dir, "bench mobilenet_v2_1.0_cifar --runs 1 --warmup 0 --json" + options).json();
  CHECK(json["models"].size() == 1);
  json = pleat_command(dir, "verify mobilenet_v2_1.0_cifar mobilenet_v2_1.4_cifar --random 2 --json" + options).json();
  CHECK(json["max_abs_diff"] == 0);  // the same width, the same seed
  check_failure(pleat_command(dir, "inspect f.safetensors --width 0.5"), 2, {"f.safetensors", "--width"});
  check_failure(pleat_command(dir, "inspect mobilenet_v2_1.0 --width 9"), 2, {"--width 9", "0.01 to 8"});
  check_failure(pleat_command(dir, "fold vgg16_bn --out x --width 2"), 1, {"vgg16_bn has a fixed width"});
}

TEST_CASE("standard output that cannot be written is an error; a reader that stops reading is not") {
  const TempDir dir;
  const Result full = shell(dir, "\"$PLEAT\" list >/dev/full");
  check_failure(full, 1, {"standard output"});
  check_failure(shell(dir, "\"$PLEAT\" list >&-"), 1, {"standard output"});
  const Result pipe = shell(dir, "{ \"$PLEAT\" inspect resnet56; echo $? >code; } | true; cat code");
  CHECK(pipe.out == "0\n");
  CHECK(pipe.err.empty());
}

TEST_CASE("a damaged model file is refused by name, whatever the damage") {
  const TempDir dir;
  save_model(dir.path("good.safetensors"), small_model());
  const std::string bytes = slurp(dir.path("good.safetensors"));
  for (const std::size_t keep : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{500}, bytes.size() - 1}) {
    CAPTURE(keep);
    write_file(dir.path("bad.safetensors"), bytes.substr(0, keep));
    check_failure(pleat_command(dir, "inspect bad.safetensors"), 1, {"bad.safetensors: "});
  }
  for (const std::size_t at : {0, 7, 8, 9, 40, 200, 1000}) {
    CAPTURE(at);
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x80);
    write_file(dir.path("bad.safetensors"), flipped);
    check_failure(pleat_command(dir, "inspect bad.safetensors"), 1, {"bad.safetensors: "});
  }
}

TEST_CASE("output that cannot be written fails with the reason and leaves no file behind") {
  const TempDir dir;
  save_safetensors(dir.path("state.safetensors"), small_model().tensors, {});
  write_file(dir.path("file"), std::string("keep me"));
  fs::create_directory(dir.path("folder"));
  const int before = files_in(dir.path()) + 2;
  const auto import_to = [&](const std::string& out) {
    return shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --mean 0.5 --std 0.5 --out " + out);
  };
  // The state_dict is that of a network with one input channel, so the model must have one for the write to be reached.
  save_safetensors(dir.path("state.safetensors"), named_model("resnet20", dataset_info("cifar10"), 1).tensors, {});
  const auto import_colour = [&](const std::string& out) {
    return shell(dir, "\"$PLEAT\" import state.safetensors --model resnet20 --out " + out);
  };
  check_failure(import_to("m.safetensors"), 1, {"1 means", "expected 3"});
  check_failure(import_colour("absent/m.safetensors"), 1, {"absent/m.safetensors", "No such file"});
  check_failure(import_colour("file/m.safetensors"), 1, {"file/m.safetensors", "Not a directory"});
  check_failure(import_colour("folder"), 1, {"folder", "is a folder"});
  check_failure(import_colour("/dev/full"), 1, {"/dev/full"});
  // A limit on the size of files takes the place of a full disk.
  check_failure(
      shell(dir, "ulimit -f 100; trap '' XFSZ; \"$PLEAT\" import state.safetensors --model resnet20 --out file"), 1,
      {"file", "File too large"});
  CHECK(slurp(dir.path("file")) == "keep me");
  CHECK(files_in(dir.path()) == before);
}

TEST_CASE("fold, export and plan do not overwrite what they read; a deep plan is one short line") {
  const TempDir dir;
  REQUIRE(shell(dir, "\"$PLEAT\" fold resnet20 --mask '#.#.####.####.####' --out m.safetensors").code == 0);
  const std::string model = slurp(dir.path("m.safetensors"));
  for (const char* command : {"fold m.safetensors --out ./m.safetensors", "export m.safetensors --onnx m.safetensors",
                              "plan m.safetensors --out m.safetensors"})
    check_failure(shell(dir, std::string("\"$PLEAT\" ") + command), 1, {"m.safetensors: is what is read"});
  CHECK((slurp(dir.path("m.safetensors")) == model));
  // Before anything is measured, which the seconds asked for would show.
  for (const char* command : {"plan resnet20 --seconds 1000 --out none/plan.json",
                              "fold resnet20 --merge latency --seconds 1000 --out none/m.safetensors"})
    check_failure(shell(dir, std::string("timeout 20 \"$PLEAT\" ") + command), 1, {"none/", "cannot create"});
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  for (const std::string& text :
       {deep, std::string("{}"), std::string("{\"graph\": 1"), deep + "1" + std::string(100000, '}')}) {
    std::ofstream(dir.path("plan.json")) << text;
    const Result r = shell(dir, "\"$PLEAT\" fold resnet20 --plan plan.json --out o");
    check_failure(r, 1, {"plan.json: is not a plan"});
    CHECK(r.err.size() < 200);
  }
}

TEST_CASE("a plan is applied before and after fine-tuning; a fold by latency works") {
  const TempDir dir;
  write_dataset(dir);
  Model model = named_model("resnet20", dataset_info("mnist"), 7);
  save_model(dir.path("m.safetensors"), model);
  const std::string plan =
      "PLEAT_DATA=. \"$PLEAT\" plan m.safetensors --threads 1 --seconds 1 --pictures 3 --out p.json --json";
  const Result r = shell(dir, plan + " --data mnist --depth 15");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  Json json = r.json(), file = Json::parse(slurp(dir.path("p.json")));
  CHECK(json["command"] == "plan");
  CHECK(json["points"] == file["points"]);
  CHECK(file["format"] == "pleat plan");
  CHECK(file["loss"]["by"] == "divergence");
  CHECK(file["loss"]["text"].get<std::string>().find("3 pictures of mnist") != std::string::npos);
  CHECK(file["threads"].get<int>() >= 1);
  CHECK(file["alphas"].size() == 18);
  CHECK(file["candidates"].size() == 18);
  CHECK(file["base_ms"].get<double>() > 0);
  CHECK(file["prediction_error"].get<double>() >= 0);
  Json chosen = file["points"][file["chosen"].get<int>()];
  CHECK(chosen["depth"] == 15);
  CHECK(chosen["measured_ms"].get<double>() > 0);
  CHECK(r.err.find("* marks the chosen point") != std::string::npos);

  Json first = pleat_command(dir, "fold m.safetensors --plan p.json --merge none --out u.safetensors --json").json();
  CHECK(first["depth_after"] == 15);
  CHECK(first["mask"] == chosen["mask"]);
  Json merged = pleat_command(dir, "fold u.safetensors --plan p.json --out f.safetensors --json").json();
  CHECK(merged["convs_before"].get<int>() - merged["convs_after"].get<int>() ==
        static_cast<int>(chosen["groups"].size()));
  Json same = pleat_command(dir, "verify u.safetensors f.safetensors --random 5 --json").json();
  CHECK(same["max_rel_diff"].get<double>() < 1e-5);
  CHECK(pleat_command(dir, "fold m.safetensors --plan p.json --depth 12 --out d.safetensors --json")
            .json()["depth_after"] == 12);
  CHECK(pleat_command(dir, "fold m.safetensors --plan p.json --point 0 --out d.safetensors --json").json()["mask"] ==
        file["points"][0]["mask"]);
  check_failure(pleat_command(dir, "fold m.safetensors --plan p.json --point 99 --out x.safetensors"), 1,
                {"p.json", "no point 99"});
  check_failure(pleat_command(dir, "fold resnet32 --plan p.json --out x.safetensors"), 1,
                {"the graph of this network is"});

  const std::string by_latency =
      "fold m.safetensors --mask '.#.###############' --merge latency --threads 1 --seconds 0 --out l.safetensors";
  json = pleat_command(dir, by_latency + " --json").json();
  CHECK(json["depth_after"] == 18);
  CHECK(json["plan"]["timed"].size() == 2);
  int joined = 0;
  for (const Json& group : json["plan"]["timed"]) joined += group["merged"].get<bool>();
  CHECK(json["convs_after"] == 19 - joined);

  // Without pictures the losses come from the trained alphas.
  for (const char* alpha : {"layer1.0.alpha1", "layer2.1.alpha2"}) model.tensors.at(alpha).values[0] = 0.75f;
  save_model(dir.path("m.safetensors"), model);
  REQUIRE(shell(dir, plan + " --max-drop 0.5").code == 0);
  file = Json::parse(slurp(dir.path("p.json")));
  CHECK(file["loss"]["by"] == "alphas");
  CHECK(file["candidates"][0]["loss"] == 0.25);
  CHECK(file["points"][file["chosen"].get<int>()]["loss"].get<double>() <= 0.5);
}

TEST_CASE("fold --fit makes a smaller network of pictures without labels, and verify says that it differs") {
  const TempDir dir;
  write_dataset(dir);
  save_model(dir.path("m.safetensors"), named_model("resnet20", dataset_info("mnist"), 7));
  const std::string fit = "PLEAT_DATA=. \"$PLEAT\" fold m.safetensors --mask '#.#..#############' --fit mnist --json ";
  const Result r = shell(dir, fit + "--out f.safetensors");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json json = r.json();
  CHECK(json["depth_after"] == 17);
  CHECK(json["max_kernel"] == 3);
  CHECK(json["merge"] == "cheaper");
  CHECK(json["convs_after"] < json["convs_before"]);
  CHECK(json["macs_after"] < json["macs_before"]);
  CHECK(json["plan"]["fits"].size() == 3);
  CHECK(json["plan"]["activations"][1]["group"] == "layer1.0.conv2");
  for (const Json& group : json["plan"]["fits"]) CHECK(group["unexplained"].get<double>() < 0.5);
  const Result verify = pleat_command(dir, "verify m.safetensors f.safetensors --random 5 --json");
  CHECK(verify.json()["fitted"] == Json::array({nullptr, "3"}));
  CHECK(verify.json()["rms_rel_diff"].get<double>() > 0);
  CHECK(verify.err.find("not the same function") != std::string::npos);
  // What is left is merged only where that is cheaper, unless more is asked for.
  CHECK(pleat_command(dir, "fold f.safetensors --out g.safetensors --json").json()["merge"] == "cheaper");
}

TEST_CASE("train, prefold, finetune and eval on a small set, from the command line") {
  const TempDir dir;
  write_dataset(dir);
  const std::string common = " --data mnist --batch 16 --seed 5 --quiet --json";
  const std::string env = "export PLEAT_DATA=.; \"$PLEAT\" ";
  const Result train = shell(dir, env + "train resnet20 --epochs 2 --lr 0.05 --out a" + common);
  CAPTURE(train.err);
  REQUIRE(train.code == 0);
  Json json = train.json();
  CHECK(json["command"] == "train");
  CHECK(json["epochs"] == 2);
  CHECK(json["data"] == "mnist");
  CHECK(json["seed"] == 5);
  CHECK(json["model"] == "a/model.safetensors");
  CHECK(json["loss"].get<double>() > 0);
  CHECK(json["images_per_second"].get<double>() > 0);
  CHECK(json["seconds"].get<double>() > 0);
  CHECK(load_model(dir.path("a/model.safetensors")).classes.size() == 10);
  const std::string log = slurp(dir.path("a/log.jsonl"));
  CHECK(std::count(log.begin(), log.end(), '\n') == 2);

  for (const char* kernels : {"--kernels native", "--kernels onednn", "--engine"}) {
    CAPTURE(kernels);
    Json eval = shell(dir, env + "eval a/model.safetensors --batch 10 " + kernels + " --data mnist --json").json();
    CHECK(eval["images"] == 32);
    CHECK(eval["top1"] == json["top1"]);
    CHECK(eval["top5"].get<double>() >= eval["top1"].get<double>());
  }

  Json prefold = shell(dir, env + "prefold a/model.safetensors --epochs 1 --out c" + common).json();
  CHECK(prefold["command"] == "prefold");
  CHECK(prefold["alphas"].size() == 18);
  CHECK(prefold["alphas"]["layer1.0.alpha1"].get<double>() > 0);
  CHECK(prefold["depth"] == 20);

  const Result finetune =
      shell(dir, env + "finetune a/model.safetensors --teacher a/model.safetensors --epochs 1 --out d" + common);
  CHECK(finetune.code == 0);
  CHECK(finetune.json()["command"] == "finetune");

  check_failure(shell(dir, env + "eval resnet20 --data mnist --batch 0"), 2, {"--batch 0"});
  save_model(dir.path("colour.safetensors"), named_model("resnet20", dataset_info("cifar10"), 1));
  check_failure(shell(dir, env + "eval colour.safetensors --data mnist"), 1, {"mnist", "28x28x1", "32x32x3"});
}

TEST_CASE("predict classifies JPEG and PNG files and refuses others") {
  const TempDir dir;
  Model model = named_model("resnet20", dataset_info("cifar10"), 1);
  for (int c = 0; c < 10; ++c) model.classes.push_back("class " + std::to_string(c));
  save_model(dir.path("m.safetensors"), model);
  for (const char* name : {"sharp.png", "smooth.jpg"})
    fs::copy(std::string("tests/fixtures/data/") + name, dir.path(name));
  write_file(dir.path("text.png"), std::string("not a picture"));

  Json pictures = pleat_command(dir, "predict m.safetensors sharp.png smooth.jpg --top 3 --json").json()["pictures"];
  REQUIRE(pictures.size() == 2);
  CHECK(pictures[0]["file"] == "sharp.png");
  CHECK(pictures[1]["file"] == "smooth.jpg");
  for (const Json& picture : pictures) {
    CHECK(picture["classes"].size() == 3);
    CHECK(picture["classes"][0].get<std::string>().starts_with("class "));
    CHECK(picture["scores"][0] >= picture["scores"][1]);
    CHECK(picture["scores"][1] >= picture["scores"][2]);
  }
  Json all = pleat_command(dir, "predict m.safetensors smooth.jpg --top 50 --json").json()["pictures"][0];
  double sum = 0;
  for (const Json& score : all["scores"]) sum += score.get<double>();
  CHECK(all["scores"].size() == 10);
  CHECK(sum == doctest::Approx(1).epsilon(1e-9));

  check_failure(pleat_command(dir, "predict m.safetensors text.png"), 1, {"text.png"});
  check_failure(pleat_command(dir, "predict m.safetensors absent.png"), 1, {"absent.png"});
  check_failure(pleat_command(dir, "predict m.safetensors"), 2, {"PICTURE"});
}

TEST_CASE("fold, verify and bench from the command line: the merged network computes the same as the unmerged one") {
  const TempDir dir;
  write_dataset(dir);
  Model model = named_model("resnet20", dataset_info("mnist"), 7);
  for (const Parameter& p : parameters(model.graph))
    if (p.role == Role::alpha) model.tensors[p.name].values[0] = p.node % 3 == 0 ? 0.95f : 0.1f;
  save_model(dir.path("m.safetensors"), model);
  const std::string mask = "#..#.#.#.#..#..#.#";

  Json unmerged =
      pleat_command(dir, "fold m.safetensors --mask '" + mask + "' --merge none --out u.safetensors --json").json();
  CHECK(unmerged["command"] == "fold");
  CHECK(unmerged["depth_before"] == 20);
  CHECK(unmerged["depth_after"] == 2 + std::count(mask.begin(), mask.end(), '#'));
  CHECK(unmerged["convs_before"] == 19);
  CHECK(unmerged["convs_after"] == 19);
  CHECK(unmerged["mask"] == mask);
  Json merged = pleat_command(dir, "fold u.safetensors --out f.safetensors --json").json();
  CHECK(merged["convs_after"].get<int>() < 19);
  CHECK(merged["depth_after"] == unmerged["depth_after"]);
  CHECK(pleat_command(dir, "inspect f.safetensors --json").json()["convs"] == merged["convs_after"]);

  Json same = pleat_command(dir, "verify u.safetensors f.safetensors --random 20 --json").json();
  CHECK(same["images"] == 20);
  CHECK(same["max_rel_diff"].get<double>() < 1e-5);
  CHECK(same["same_top1"] == 1);
  Json data = shell(dir, "PLEAT_DATA=. \"$PLEAT\" verify u.safetensors f.safetensors --data mnist --json").json();
  CHECK(data["images"] == 32);
  CHECK(data["max_rel_diff"].get<double>() < 1e-5);
  Json engine = pleat_command(dir, "verify f.safetensors f.safetensors --random 20 --engine --json").json();
  CHECK(engine["same_top1"] == 1.0);
  CHECK(engine["max_rel_diff"] > 0);
  CHECK(engine["max_rel_diff"] < 1e-4);
  CHECK(pleat_command(dir, "verify f.safetensors f.safetensors --dtype bf16").code == 2);
  Json other = pleat_command(dir, "verify m.safetensors f.safetensors --random 20 --json").json();
  CHECK(other["max_rel_diff"].get<double>() > 1e-3);

  // Merged exactly without fine-tuning, the network equals the one whose activations were only dropped.
  Json as_it_was = pleat_command(dir, "fold m.safetensors --mask '" + mask +
                                          "' --merge none --borders exact --out w.safetensors --json")
                       .json();
  CHECK(as_it_was["macs_after"] == as_it_was["macs_before"]);
  Json exact = pleat_command(dir, "fold m.safetensors --mask '" + mask + "' --out e.safetensors --json").json();
  CHECK(exact["convs_after"] == merged["convs_after"]);
  CHECK(exact["plan"]["activations"][2]["group"] == "layer1.1.conv1");
  const std::string groups = exact["plan"]["groups"].dump();
  CHECK(groups.find(R"("border":"kernels")") != std::string::npos);
  CHECK(groups.find(R"("border":"moved")") == std::string::npos);
  CHECK(exact["macs_after"].get<int64_t>() > merged["macs_after"].get<int64_t>());
  Json proof = pleat_command(dir, "verify w.safetensors e.safetensors --random 20 --json").json();
  CHECK(proof["max_rel_diff"].get<double>() < 1e-5);
  CHECK(proof["same_top1"] == 1);
  CHECK(proof["borders"] == Json::array({"exact", "exact"}));
  CHECK(other["borders"] == Json::array({nullptr, "reorder"}));
  CHECK(pleat_command(dir, "fold m.safetensors --mask '" + mask + "' --borders reorder --out r.safetensors").code == 0);
  proof = pleat_command(dir, "verify u.safetensors r.safetensors --random 20 --json").json();
  CHECK(proof["max_rel_diff"].get<double>() < 1e-5);
  check_failure(pleat_command(dir, "fold m.safetensors --borders some --out x.safetensors"), 2, {"--borders some"});

  Json by_threshold = pleat_command(dir, "fold m.safetensors --out t.safetensors --json").json();
  CHECK(!by_threshold.contains("threshold"));  // not given, so the default 0.9 applies
  CHECK(std::string(by_threshold["mask"]).find('.') != std::string::npos);
  CHECK(pleat_command(dir, "fold m.safetensors --depth 9 --out d.safetensors --json").json()["depth_after"] == 9);

  Json bench = pleat_command(dir, "bench m.safetensors f.safetensors --runs 5 --warmup 1 --json").json();
  REQUIRE(bench["models"].size() == 2);
  CHECK(bench["models"][0]["ratio_to_first"] == 1);
  for (const Json& m : bench["models"]) {
    CHECK(m["min_ms"].get<double>() > 0);
    CHECK(m["min_ms"] <= m["median_ms"]);
    CHECK(m["median_ms"] <= m["p90_ms"]);
    CHECK(m["p90_ms"] <= m["p99_ms"]);
    CHECK(m["load_ms"].get<double>() > 0);
    CHECK(m["peak_rss_mb"].get<double>() > 0);
    CHECK(m["dtype"] == "f32");
    CHECK(!m.contains("steps"));
  }

  // A list of precisions (f32 twice, because every CPU has it), and the profile of single steps.
  Json profile = pleat_command(dir, "bench m.safetensors --dtype f32,f32 --profile --runs 3 --json").json()["models"];
  REQUIRE(profile.size() == 2);
  for (const Json& m : profile) {
    CHECK(m["peak_gflops"].get<double>() > 0);
    double at_peak = 0;  // milliseconds
    for (const Json& step : m["steps"]) at_peak += step["ms"].get<double>() * step["share_of_peak_flops"].get<double>();
    CHECK(m["limit_ms"].get<double>() == doctest::Approx(at_peak));
    CHECK(m["peak_gbytes"].get<double>() > 0);
    double sum = 0;
    for (const Json& step : m["steps"]) {
      sum += step["ms"].get<double>();
      CHECK(step["share_of_peak_flops"] == step["gflops"].get<double>() / m["peak_gflops"].get<double>());
    }
    CHECK(sum >= m["min_ms"].get<double>() / 2);
    CHECK(m["steps"][0]["name"] == "conv1");
    CHECK(m["steps"][0]["gflops"].get<double>() > 0);
  }

  check_failure(pleat_command(dir, "fold m.safetensors --mask '#.#' --out x.safetensors"), 1, {"mask", "3", "18"});
  check_failure(pleat_command(dir, "fold m.safetensors --mask '#..#.#.#.#..#..#.x' --out x.safetensors"), 1,
                {"mask", "x"});
  check_failure(pleat_command(dir, "fold m.safetensors --mask '#.' --depth 3 --out x.safetensors"), 2, {"--mask"});
  check_failure(pleat_command(dir, "fold m.safetensors --merge some --out x.safetensors"), 2, {"--merge some"});
  CHECK(!fs::exists(dir.path("x.safetensors")));
}

TEST_CASE("pleat-run predicts, evaluates and measures as pleat does") {
  const TempDir dir;
  write_dataset(dir);
  save_model(dir.path("m.safetensors"), small_model());
  fs::copy("tests/fixtures/data/sharp.png", dir.path("sharp.png"));

  const std::string data = "export PLEAT_DATA=.; ";
  Json eval = shell(dir, data + "\"$RUN\" m.safetensors --data mnist --json").json();
  Json same = shell(dir, data + "\"$PLEAT\" eval m.safetensors --engine --data mnist --json").json();
  CHECK(eval["command"] == "pleat-run");
  CHECK(eval["images"] == 32);
  for (const char* field : {"top1", "top5", "loss"}) CHECK(eval[field] == same[field]);

  Json picture = shell(dir, "\"$RUN\" m.safetensors sharp.png --top 2 --json").json()["pictures"][0];
  CHECK(picture == pleat_command(dir, "predict m.safetensors sharp.png --top 2 --json").json()["pictures"][0]);
  CHECK(shell(dir, "\"$RUN\" m.safetensors --bench --runs 3 --json").json()["median_ms"].get<double>() > 0);
  CHECK(shell(dir, "\"$RUN\" m.safetensors --bench --profile --runs 3 --json").json()["steps"][0]["name"] == "conv1");

  CHECK(shell(dir, "\"$RUN\" --help").out.find("Examples:\n  pleat-run ") != std::string::npos);
  check_failure(shell(dir, "\"$RUN\""), 2, {"MODEL"});
  check_failure(shell(dir, "\"$RUN\" m.safetensors"), 2, {"--bench"});
  check_failure(shell(dir, "\"$RUN\" m.safetensors --data mnist sharp.png"), 2, {"--bench"});
  check_failure(shell(dir, "\"$RUN\" absent.safetensors --bench"), 1, {"absent.safetensors"});
  check_failure(shell(dir, "unset PLEAT_DATA; \"$RUN\" m.safetensors --data cifar10"), 1, {"cifar10", "searched"});
}

TEST_CASE("logits that are not finite are an error of eval, verify, predict and pleat-run") {
  const TempDir dir;
  write_dataset(dir);
  Model model = small_model();
  for (float& weight : model.tensors.at("linear.weight").values) weight = 3e38f;
  for (float& bias : model.tensors.at("layer3.2.bn2.bias").values) bias = 1e10f;
  save_model(dir.path("m.safetensors"), model);
  save_model(dir.path("good.safetensors"), small_model());
  const std::string env = "export PLEAT_DATA=.; ";
  for (const std::string command :
       {"\"$PLEAT\" eval m.safetensors --data mnist", "\"$PLEAT\" eval m.safetensors --data mnist --engine",
        "\"$RUN\" m.safetensors --data mnist", "\"$PLEAT\" verify good.safetensors m.safetensors --random 2",
        "\"$PLEAT\" verify m.safetensors good.safetensors --random 2 --engine",
        "\"$PLEAT\" verify m.safetensors m.safetensors --data mnist"}) {
    CAPTURE(command);
    check_failure(shell(dir, env + command + " --json"), 1, {"logit 0 of picture 0 is ", "expected a finite number"});
  }
  const std::string picture = fs::absolute("tests/fixtures/data/smooth.jpg");
  check_failure(pleat_command(dir, "predict m.safetensors " + picture), 1, {"smooth.jpg: logit 0 of picture 0 is "});
  check_failure(shell(dir, "\"$RUN\" m.safetensors " + picture), 1, {"logit 0 of picture 0 is "});

  Tensors numbers{{"input", Tensor({1, 1, 28, 28}, 1)}};
  numbers.at("input").values[9] = INFINITY;
  save_safetensors(dir.path("in.safetensors"), numbers, {});
  check_failure(pleat_command(dir, "predict good.safetensors --input in.safetensors --output out.safetensors"), 1,
                {"in.safetensors: input[9] is inf, expected a finite number"});
  CHECK(!fs::exists(dir.path("out.safetensors")));
}

TEST_CASE("class names of a file do not reach the terminal as commands") {
  const TempDir dir;
  Model model = small_model();
  model.classes.assign(10, "plain");
  for (std::string& name : model.classes) name += "\x1b[2J\xc2\x9b";
  save_model(dir.path("m.safetensors"), model);
  const std::string picture = fs::absolute("tests/fixtures/data/smooth.jpg");
  for (const std::string program : {"\"$PLEAT\" predict", "\"$RUN\""}) {
    const Result r = shell(dir, program + " m.safetensors " + picture + " --top 1");
    CHECK(r.code == 0);
    CHECK(r.out.find("  plain\\x1b[2J\xc2\\x9b\n") != std::string::npos);
  }
}
