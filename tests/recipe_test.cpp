// Recipes: their settings on the command line, in files and in the record of a run are the same rows.
#include <nlohmann/json.hpp>

#include "core/file.hpp"
#include "tests/cifar_files.hpp"
#include "tests/error_of.hpp"
#include "tests/run.hpp"
#include "tools/train/recipe_file.hpp"

using namespace pleat;
using Json = nlohmann::ordered_json;

namespace {

Recipe applied(const std::string& command, const std::string& name_or_file) {
  Recipe recipe = usual_recipe(command);
  apply_recipe(recipe, name_or_file);
  return recipe;
}

}  // namespace

TEST_CASE("recipes: every one that comes with Pleat is whole, for each kind of training") {
  const std::vector<std::string> names = recipe_names();
  CHECK(std::ranges::find(names, "short") != names.end());
  for (const std::string& name : names)
    for (const char* command : {"train", "prefold", "finetune"}) {
      CAPTURE(name);
      CAPTURE(command);
      const Recipe recipe = applied(command, name);
      CHECK(recipe.name == name);
      CHECK(recipe.command == command);
      CHECK(settings(recipe) != settings(usual_recipe(command)));
    }
}

TEST_CASE("recipes: a file sets what it says, and the rest stays usual") {
  const TempDir dir;
  const std::string file = dir.path("mine.json");
  write_file(file, std::string(R"({"about": "mine", "train": {"lr": 0.3, "schedule": "rex", "epochs": 7, "warmup": 0.5,
    "nesterov": true, "alternate_flip": true, "cutout": 8, "ema": 0.99, "bias_norm_lr": 4, "weight_decay": 0.001},
    "prefold": {"lambda": 2, "lambda_growth": 1.1}})"));
  const Recipe train = applied("train", file);
  Recipe expected = usual_recipe("train");
  expected.name = "mine";
  expected.lr = 0.3;
  expected.schedule = Schedule::Kind::rex;
  expected.epochs = 7;
  expected.warmup = 0.5;
  expected.nesterov = expected.alternate_flip = true;
  expected.cutout = 8;
  expected.ema = 0.99;
  expected.bias_norm_lr = 4;
  expected.weight_decay = 0.001;
  CHECK(to_json(train) == to_json(expected));
  CHECK(to_json(train)["norm_weight_decay"] == 0.001);  // as the others, if nothing is said of it
  const Recipe prefold = applied("prefold", file);
  CHECK(prefold.lambda == 2);
  CHECK(prefold.lambda_growth == 1.1);
  CHECK(prefold.lr == 0.001);
  CHECK(settings(applied("finetune", file)) == settings(usual_recipe("finetune")));
}

TEST_CASE("recipes: what is not understood is refused by file and name") {
  const TempDir dir;
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "cut short"},
      {R"({"train": {"lr": 0.1)", "cut short"},
      {"[]", "not a JSON object"},
      {R"({"training": {}})", "'training'"},
      {R"({"train": 3})", "train: expected an object"},
      {R"({"train": {"learning_rate": 1}})", "'learning_rate' is no setting of train"},
      {R"({"train": {"lambda": 1}})", "'lambda' is no setting of train"},
      {R"({"train": {"lr": "0.1"}})", "lr is \"0.1\", expected a number"},
      {R"({"train": {"lr": -1}})", "lr is -1, expected a number from 0"},
      {R"({"train": {"epochs": 1.5}})", "epochs is 1.5, expected a whole number"},
      {R"({"train": {"epochs": 0}})", "epochs is 0"},
      {R"({"train": {"nesterov": 1}})", "nesterov is 1, expected true or false"},
      {R"({"train": {"schedule": "sawtooth"}})", "sawtooth"},
      {R"({"train": {"ema": 1}})", "ema is 1"},
      {R"({"train": {"epochs": 3, "warmup": 4}})", "warmup is 4, expected 0 to 3"},
  };
  for (const auto& [text, reason] : bad) {
    CAPTURE(text);
    write_file(dir.path("bad.json"), text);
    const std::string error = error_of<std::runtime_error>([&] { applied("train", dir.path("bad.json")); });
    CHECK(holds(error, dir.path("bad.json")));
    CHECK(holds(error, reason));
  }
  const std::string unknown = error_of<std::runtime_error>([&] { applied("train", "shortest"); });
  CHECK(holds(unknown, "'shortest'"));
  CHECK(holds(unknown, "short"));
  CHECK(holds(unknown, "hint: "));
}

TEST_CASE("recipes: a command takes one by name, options given besides win, and the model says so") {
  const TempDir dir;
  write_cifar(dir, 80, 10);
  write_file(dir.path("tiny.json"), std::string(R"({"train": {"epochs": 1, "batch": 16, "lr": 0.03, "ema": 0.5,
    "alternate_flip": true, "cutout": 6, "schedule": "linear"}})"));
  const std::string train =
      "export PLEAT_DATA=.; \"$PLEAT\" train resnet20 --data cifar10 --threads 2 --tune off --quiet --json";
  const Result result = shell(dir, train + " --recipe ./tiny.json --lr 0.04 --out a");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.json()["lr"] == 0.04);
  CHECK(result.json()["batch"] == 16);
  CHECK(result.json()["schedule"] == "linear");
  const Result inspected = shell(dir, "\"$PLEAT\" inspect a/model.safetensors --json");
  const Json recipe = Json::parse(inspected.json()["provenance"]["recipe"].get<std::string>());
  CHECK(recipe["recipe"] == "tiny");
  CHECK(recipe["lr"] == 0.04);
  CHECK(recipe["ema"] == 0.5);
  check_failure(shell(dir, train + " --recipe ./absent.json --out b"), 1, {"./absent.json"});
  check_failure(shell(dir, train + " --recipe absent --out b"), 1, {"'absent'", "short"});
  CHECK(!std::filesystem::exists(dir.path("b")));
}
