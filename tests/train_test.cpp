// `pleat train`, `prefold` and `finetune` from outside: runs repeat bit for bit, whatever ends them on the way, and
// what cannot be done is refused before anything is lost.
#include <csignal>
#include <fstream>

#include "tests/cifar_files.hpp"
#include "tests/run.hpp"

using namespace pleat;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

const std::string kOptions = " --data cifar10 --batch 16 --threads 2 --seed 5 --quiet --json";

Result run(const TempDir& dir, const std::string& arguments, const std::string& before = "") {
  return shell(dir, "export PLEAT_DATA=.; " + before + "\"$PLEAT\" " + arguments + kOptions);
}

// A log without what differs from run to run.
std::vector<Json> log_of(const TempDir& dir, const std::string& out) {
  std::vector<Json> lines;
  std::istringstream text(slurp(dir.path(out + "/log.jsonl")));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(Json::parse(line));
    for (const char* timing : {"seconds", "images_per_second", "data_wait"}) CHECK(lines.back().erase(timing) == 1);
  }
  return lines;
}

void check_same_run(const TempDir& dir, const std::string& a, const std::string& b) {
  for (const char* file : {"/model.safetensors", "/best.safetensors"}) {
    CAPTURE(file);
    CHECK(!slurp(dir.path(a + file)).empty());
    CHECK((slurp(dir.path(a + file)) == slurp(dir.path(b + file))));  // in brackets: not to print a megabyte
  }
  CHECK(log_of(dir, a) == log_of(dir, b));
}

// Starts the command and sends it `signal` as soon as `moment`, a shell condition, holds.
Result stopped(const TempDir& dir, const std::string& arguments, const std::string& moment, const std::string& signal) {
  return shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + arguments + kOptions + " & pid=$!; until " + moment +
                        "; do sleep 0.01; kill -0 $pid || break; done; kill -" + signal + " $pid; wait $pid");
}

std::string epochs_logged(const std::string& out, int n) {
  return "[ \"$(cat " + out + "/log.jsonl 2>/dev/null | wc -l)\" -ge " + std::to_string(n) + " ]";
}

}  // namespace

TEST_CASE("train: the same seed writes the same bytes, interrupted, killed or not") {
  const TempDir dir;
  write_cifar(dir, 160, 20);
  const std::string train = "train resnet20 --epochs 3 --lr 0.05 --schedule onecycle --warmup 1 --out ";
  const Result whole = run(dir, train + "whole");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(log_of(dir, "whole").size() == 3);
  CHECK(log_of(dir, "whole").back()["test_top1"] == whole.json()["top1"]);
  CHECK(log_of(dir, "whole").back()["train_loss"] == whole.json()["loss"]);

  REQUIRE(run(dir, train + "again").code == 0);
  check_same_run(dir, "whole", "again");

  // Ctrl-C within the second epoch: refused without --resume, and then nothing of the run is lost.
  const Result interrupted = stopped(dir, train + "int", epochs_logged("int", 1), "INT");
  CAPTURE(interrupted.err);
  CHECK(interrupted.code == 130);
  CHECK(interrupted.err.find("--resume") != std::string::npos);
  CHECK(interrupted.out.empty());
  const std::string state = slurp(dir.path("int/state.safetensors")), log = slurp(dir.path("int/log.jsonl"));
  check_failure(run(dir, train + "int"), 1, {"int: ", "--resume"});
  CHECK((slurp(dir.path("int/state.safetensors")) == state));
  CHECK(slurp(dir.path("int/log.jsonl")) == log);
  const Result resumed = run(dir, train + "int --resume");
  REQUIRE(resumed.code == 0);
  CHECK(resumed.json()["loss"] == whole.json()["loss"]);
  check_same_run(dir, "whole", "int");

  // kill -9: as early as the state exists, within an epoch, and while an epoch's files are being written.
  CHECK(stopped(dir, train + "kill", "[ -e kill/state.safetensors ]", "KILL").code == 128 + 9);
  CHECK(stopped(dir, train + "kill --resume", epochs_logged("kill", 1), "KILL").code == 128 + 9);
  CHECK(stopped(dir, train + "kill --resume", epochs_logged("kill", 2), "KILL").code == 128 + 9);
  REQUIRE(run(dir, train + "kill --resume").code == 0);
  check_same_run(dir, "whole", "kill");

  // A finished run resumes to itself.
  const Result finished = run(dir, train + "kill --resume");
  CHECK(finished.code == 0);
  CHECK(finished.json()["top1"] == whole.json()["top1"]);
  CHECK(finished.json()["loss"] == whole.json()["loss"]);
  check_same_run(dir, "whole", "kill");
}

TEST_CASE("prefold and finetune: alphas are logged, and both resume bit for bit") {
  const TempDir dir;
  write_cifar(dir, 160, 20);
  REQUIRE(run(dir, "train resnet20 --epochs 1 --lr 0.05 --out base").code == 0);

  const std::string prefold = "prefold base/model.safetensors --epochs 2 --lr 0.01 --lambda 1 --out ";
  const Result whole = run(dir, prefold + "p");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(stopped(dir, prefold + "q", epochs_logged("q", 1), "INT").code == 130);
  REQUIRE(run(dir, prefold + "q --resume").code == 0);
  check_same_run(dir, "p", "q");
  const Json alphas = whole.json()["alphas"];
  CHECK(alphas.size() == 18);
  CHECK(log_of(dir, "p").back()["alphas"] == alphas);
  CHECK(log_of(dir, "p").front()["alphas"] != alphas);
  for (const Json& alpha : alphas) {
    CHECK(alpha.get<double>() >= 0);
    CHECK(alpha.get<double>() <= 1);
  }

  const std::string finetune =
      "finetune p/model.safetensors --epochs 2 --teacher base/model.safetensors --temperature 2 --out ";
  REQUIRE(run(dir, finetune + "f").code == 0);
  CHECK(stopped(dir, finetune + "g", epochs_logged("g", 1), "KILL").code == 128 + 9);
  REQUIRE(run(dir, finetune + "g --resume").code == 0);
  check_same_run(dir, "f", "g");
  // Without the teacher it is another run.
  REQUIRE(run(dir, "finetune p/model.safetensors --epochs 2 --out h").code == 0);
  CHECK((slurp(dir.path("h/model.safetensors")) != slurp(dir.path("f/model.safetensors"))));
}

TEST_CASE("what short training needs: each switch changes the run, and resumes bit for bit") {
  const TempDir dir;
  write_cifar(dir, 160, 20);
  const std::string train = "train resnet20 --epochs 2 --lr 0.05 --tune off ";
  REQUIRE(run(dir, train + "--out plain").code == 0);
  for (const char* option :
       {"--ema 0.9", "--alternate-flip", "--cutout 8", "--schedule linear", "--schedule rex", "--bias-norm-lr 4"}) {
    CAPTURE(option);
    fs::remove_all(dir.path("whole")), fs::remove_all(dir.path("killed"));
    REQUIRE(run(dir, train + option + " --out whole").code == 0);
    CHECK(stopped(dir, train + option + " --out killed", epochs_logged("killed", 1), "KILL").code == 128 + 9);
    REQUIRE(run(dir, train + option + " --out killed --resume").code == 0);
    check_same_run(dir, "whole", "killed");
    CHECK((slurp(dir.path("whole/model.safetensors")) != slurp(dir.path("plain/model.safetensors"))));
  }
  // The averaged weights are those that were scored.
  REQUIRE(run(dir, train + "--ema 0.9 --out ema").code == 0);
  const Result scored = run(dir, "eval ema/model.safetensors");
  CHECK(scored.json()["top1"] == log_of(dir, "ema").back()["test_top1"]);

  const std::string prefold =
      "prefold plain/model.safetensors --epochs 3 --lambda 0.5 --lr 0.01 --tune off --lambda-growth ";
  REQUIRE(run(dir, prefold + "1 --out p").code == 0);
  REQUIRE(run(dir, prefold + "3 --out grown").code == 0);
  CHECK(stopped(dir, prefold + "3 --out g", epochs_logged("g", 2), "KILL").code == 128 + 9);
  REQUIRE(run(dir, prefold + "3 --out g --resume").code == 0);
  check_same_run(dir, "grown", "g");
  const Json small = log_of(dir, "p").back()["alphas"], large = log_of(dir, "grown").back()["alphas"];
  double sum = 0;
  for (const auto& [name, alpha] : large.items()) sum += alpha.get<double>() - small[name].get<double>();
  CHECK(sum > 0);
}

TEST_CASE("a run goes on only as it began, from a whole state") {
  const TempDir dir;
  write_cifar(dir, 80, 10);
  const std::string train = "train resnet20 --epochs 2 --out a --lr ";
  REQUIRE(run(dir, train + "0.05").code == 0);
  const std::string state = slurp(dir.path("a/state.safetensors"));
  const auto resumed = [&](const std::string& arguments) { return run(dir, arguments + " --resume"); };
  check_failure(resumed(train + "0.06"), 1, {"a/state.safetensors: ", "lr", "0.05", "0.06"});
  check_failure(resumed(train + "0.05 --momentum 0.8"), 1, {"a/state.safetensors: ", "momentum", "0.9", "0.8"});
  check_failure(resumed(train + "0.05 --nesterov"), 1, {"a/state.safetensors: ", "nesterov"});
  check_failure(resumed("train resnet32 --epochs 2 --out a --lr 0.05"), 1, {"a/state.safetensors: ", "resnet20"});
  check_failure(resumed("train resnet20 --epochs 3 --out a --lr 0.05"), 1, {"a/state.safetensors: ", "epochs"});
  CHECK((slurp(dir.path("a/state.safetensors")) == state));

  for (const std::size_t keep : {std::size_t{0}, std::size_t{7}, std::size_t{900}, state.size() - 1}) {
    CAPTURE(keep);
    std::ofstream(dir.path("a/state.safetensors"), std::ios::binary) << state.substr(0, keep);
    check_failure(resumed(train + "0.05"), 1, {"a/state.safetensors: "});
  }
  fs::copy_file(dir.path("a/model.safetensors"), dir.path("a/state.safetensors"), fs::copy_options::overwrite_existing);
  check_failure(resumed(train + "0.05"), 1, {"a/state.safetensors: ", "not the state of a training run"});
}

TEST_CASE("a folder is one run's: finished runs are not overwritten, two at once refused, changed contents noticed") {
  const TempDir dir;
  std::signal(SIGHUP, SIG_DFL);  // these tests may run under nohup, whose children ignore it
  write_cifar(dir, 160, 20);
  const std::string train = "train resnet20 --epochs 2 --tune off --out ";
  REQUIRE(run(dir, train + "a").code == 0);
  const std::string model = slurp(dir.path("a/model.safetensors"));
  check_failure(run(dir, train + "a --lr 0.3"), 1, {"a: holds a finished run", "--force"});
  fs::remove(dir.path("a/state.safetensors"));
  check_failure(run(dir, train + "a --resume"), 1, {"a: holds a finished run", "--force"});
  check_failure(run(dir, train + "a --force --classes 7"), 1, {"7 outputs"});
  CHECK((slurp(dir.path("a/model.safetensors")) == model));
  check_failure(run(dir, train + "a --force --resume"), 2, {"--resume and --force"});
  REQUIRE(run(dir, train + "a --force --lr 0.3").code == 0);
  CHECK((slurp(dir.path("a/model.safetensors")) != model));
  CHECK(log_of(dir, "a").size() == 2);

  // Two at once: the second is refused while the first is at work, and goes on when it has been killed.
  const Result both =
      stopped(dir, "train resnet20 --epochs 500 --tune off --out b",
              epochs_logged("b", 1) + " && { \"$PLEAT\" train resnet20 --epochs 500 --tune off --out b --resume" +
                  kOptions + " 2>second; true; }",
              "KILL");
  CHECK(both.code == 128 + 9);
  CHECK(slurp(dir.path("second")).find("b/lock: is locked") != std::string::npos);
  CHECK(stopped(dir, "train resnet20 --epochs 500 --tune off --out b --resume", epochs_logged("b", 3), "HUP").code ==
        130);

  // The same names with other contents: the start, the teacher, the pictures.
  const std::string finetune = "finetune base.safetensors --epochs 2 --tune off --teacher teacher.safetensors --out c";
  fs::copy_file(dir.path("a/model.safetensors"), dir.path("base.safetensors"));
  fs::copy_file(dir.path("a/model.safetensors"), dir.path("teacher.safetensors"));
  REQUIRE(run(dir, finetune).code == 0);
  const std::string other = slurp(dir.path("b/model.safetensors")), right = slurp(dir.path("base.safetensors"));
  for (const std::string file : {"base.safetensors", "teacher.safetensors"}) {
    std::ofstream(dir.path(file), std::ios::binary) << other;
    check_failure(run(dir, finetune + " --resume"), 1, {"c/state.safetensors", "the contents of '" + file});
    std::ofstream(dir.path(file), std::ios::binary) << right;
  }
  REQUIRE(run(dir, finetune + " --resume").code == 0);
  const TempDir elsewhere;
  write_cifar(elsewhere, 140, 20);
  fs::remove_all(dir.path("cifar10"));
  for (const auto& entry : fs::directory_iterator(elsewhere.path()))
    fs::copy(entry.path(), dir.path(entry.path().filename()),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  check_failure(run(dir, finetune + " --resume"), 1, {"c/state.safetensors", "the contents of 'cifar10'"});
}

TEST_CASE("--tune: what was found is noted, remembered, obeyed and gone on with") {
  const TempDir dir;
  write_cifar(dir, 80, 10);
  const std::string train = "train resnet20 --epochs 2 --out ", cache = dir.path("cache/pleat/tune.json");
  const auto letters = [](const Result& r) { return r.json()["algorithms"].get<std::string>(); };
  const Result off = run(dir, train + "off --tune off");
  REQUIRE(off.code == 0);
  CHECK(!fs::exists(cache));
  CHECK(letters(off).size() == 3 * 17);  // all but the two of stride 2
  CHECK(letters(off).find_first_not_of("d24") == std::string::npos);

  REQUIRE(run(dir, train + "a").code == 0);
  Json timed = Json::parse(slurp(cache));
  REQUIRE(timed.size() == 1);
  const auto choose_all = [&](const char* forward, const char* data, const char* weights) {
    Json& table = timed.front();
    for (auto entry = table.begin(); entry != table.end(); ++entry)
      entry.value() = entry.key().ends_with("forward") ? forward : entry.key().ends_with("data") ? data : weights;
  };
  choose_all("2", "d", "4");
  std::ofstream(cache) << timed;
  const Result obeyed = run(dir, train + "b");
  std::string expected;
  for (int conv = 0; conv < 17; ++conv) expected += "2d4";
  CHECK(letters(obeyed) == expected);

  // From the letters alone the same run, on a machine that remembers otherwise; and so when it is taken up again.
  choose_all("d", "d", "d");
  std::ofstream(cache) << timed;
  REQUIRE(run(dir, train + "c --tune " + expected).code == 0);
  check_same_run(dir, "b", "c");
  std::ofstream(cache) << "{damaged";
  REQUIRE(stopped(dir, train + "d --tune " + expected, epochs_logged("d", 1), "INT").code == 130);
  const Result resumed = run(dir, train + "d --resume");
  CHECK(letters(resumed) == expected);
  check_same_run(dir, "b", "d");
  CHECK(run(dir, train + "e").code == 0);
  CHECK(Json::parse(slurp(cache)).size() == 1);

  check_failure(run(dir, train + "f --tune dd"), 2, {"--tune", "2 letters, expected 51"});
  check_failure(run(dir, train + "f --tune x" + expected.substr(1)), 2, {"--tune", "letter 1 is 'x'"});
}

TEST_CASE("training that breaks down stops at once and names the op; bad numbers are refused") {
  const TempDir dir;
  write_cifar(dir, 160, 10);
  const Result r = run(dir, "train resnet20 --epochs 20 --lr 1000000 --out huge");
  check_failure(r, 1, {"epoch ", "step ", "first NaN or Inf came from ", "--lr", "\nhint: "});
  bool named = false;  // an op of the network, or the loss
  const Json nodes = shell(dir, "\"$PLEAT\" inspect resnet20 --json").json()["nodes"];
  REQUIRE(nodes.size() > 20);
  for (const Json& node : nodes) named |= r.err.find(node["name"].get<std::string>()) != std::string::npos;
  CHECK((named || r.err.find("loss") != std::string::npos));
  check_failure(run(dir, "train resnet20 --epochs 1 --lr nan --out o"), 2, {"--lr nan"});
  check_failure(run(dir, "prefold resnet20 --epochs 1 --lambda inf --out o"), 2, {"--lambda inf"});
  CHECK(!fs::exists(dir.path("o")));
}

TEST_CASE("an --out that cannot be written, or is full, is known before the first epoch") {
  const TempDir dir;
  write_cifar(dir, 80, 10);
  std::ofstream(dir.path("file")) << "keep me";
  check_failure(run(dir, "train resnet20 --epochs 1 --classes 7 --out o"), 1, {"7 outputs", "10 classes"});
  check_failure(run(dir, "train resnet20 --epochs 1 --input-size 24 --out o"), 1, {"24x24", "32x32"});
  check_failure(run(dir, "train resnet20 --epochs 1 --out file"), 1, {"file"});
  check_failure(run(dir, "train resnet20 --epochs 1 --out file/under"), 1, {"file/under"});
  CHECK(slurp(dir.path("file")) == "keep me");
  // A limit on the size of files stands for a full disk.
  check_failure(run(dir, "train resnet20 --epochs 1 --out full", "ulimit -f 100; trap '' XFSZ; "), 1,
                {"full/state.safetensors", "File too large"});
  CHECK(std::distance(fs::directory_iterator(dir.path("full")), {}) == 1);  // the lock, which is empty
}
