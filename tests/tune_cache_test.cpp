// The file of choices made by timing: nothing is lost when many save at once, damage costs the damaged lines alone, and
// nothing that a file may hold, or where it may lie, stops a run.
#include "ops/conv/tune_cache.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/check.hpp"
#include "core/file.hpp"
#include "ops/conv/tuner.hpp"
#include "tests/temp_dir.hpp"

using namespace pleat;
using Json = nlohmann::ordered_json;

namespace {

// A cache in a folder of its own, for as long as it lives.
class CacheHome {
 public:
  CacheHome() {
    if (const char* before = std::getenv("XDG_CACHE_HOME")) before_ = before;
    ::setenv("XDG_CACHE_HOME", dir_.path("").c_str(), 1);
  }
  ~CacheHome() {
    if (before_.empty())
      ::unsetenv("XDG_CACHE_HOME");
    else
      ::setenv("XDG_CACHE_HOME", before_.c_str(), 1);
  }
  std::string file() const { return dir_.path("pleat/tune.json"); }
  std::string text() const {
    const auto bytes = read_file(file());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void write(const std::string& text) const {
    std::filesystem::create_directories(dir_.path("pleat"));
    std::ofstream(file(), std::ios::binary) << text;
  }

 private:
  const TempDir dir_;
  std::string before_;
};

void remember_two(int number) {
  TuneCache cache;
  for (const char* letter : {"a", "b"}) cache.remember(concat("task ", number, letter), concat("choice ", number));
}

}  // namespace

TEST_CASE("cache of choices: eight threads that save at once lose nothing") {
  const CacheHome home;
  std::vector<std::thread> threads;
  for (int number = 0; number < 8; ++number) threads.emplace_back([number] { remember_two(number); });
  for (std::thread& thread : threads) thread.join();
  const Json all = Json::parse(home.text());
  REQUIRE(all.size() == 1);
  CHECK(all.front().size() == 16);
  const TuneCache cache;
  for (int number = 0; number < 8; ++number)
    CHECK(cache.find(concat("task ", number, "b")) == concat("choice ", number));
}

TEST_CASE("cache of choices: eight processes that save at once lose nothing") {
  const CacheHome home;
  std::vector<pid_t> children;
  for (int number = 0; number < 8; ++number) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      remember_two(number);
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  const Json all = Json::parse(home.text());
  REQUIRE(all.size() == 1);
  CHECK(all.front().size() == 16);
}

TEST_CASE("cache of choices: a damaged file loses the damaged lines alone") {
  const CacheHome home;
  home.write("{\n \"another machine\": {\n  \"task\": \"theirs\",\n  \"quoted \\\" \\u00e9\": \"\\\\\"\n }\n}\n");
  remember_two(1);
  const std::string whole = home.text();
  const Json before = Json::parse(whole);
  REQUIRE(before.size() == 2);
  REQUIRE(before["another machine"]["quoted \" é"] == "\\");

  // Whatever single byte is lost, at most the line it was on is missing, or the table that the line began.
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = '\x01';
    home.write(damaged);
    remember_two(2);
    const Json after = Json::parse(home.text());
    CAPTURE(damaged);
    std::size_t missing = 0;
    for (const auto& [machine, table] : before.items())
      for (const auto& [task, choice] : table.items())
        missing += !(after.contains(machine) && after[machine].contains(task) && after[machine][task] == choice);
    const std::size_t line_begin = at == 0 ? 0 : whole.rfind('\n', at - 1) + 1;
    const bool begins_table = whole.substr(line_begin, whole.find('\n', at) - line_begin).ends_with('{');
    CHECK(missing <= (begins_table ? 2 : 1));  // all tables here have two
    if (at < whole.find("\n \"another")) CHECK(after["another machine"] == before["another machine"]);
  }
  // Cut off anywhere, all lines before the cut are kept.
  home.write(whole.substr(0, whole.find(",\n  \"task\": \"theirs")));
  remember_two(2);
  CHECK(Json::parse(home.text())["another machine"] == Json::object({{"quoted \" é", "\\"}}));
}

TEST_CASE("cache of choices: deep nesting neither overflows the stack nor costs other tables") {
  const CacheHome home;
  constexpr std::size_t kDepth = 1000000;
  const std::string mine = "\n \"another machine\": {\n  \"task\": \"theirs\"\n }";
  for (const bool closed : {false, true})
    for (const char* bracket : {"[]", "{}"}) {
      std::string deep = std::string(kDepth, bracket[0]);
      if (closed) deep += std::string(kDepth, bracket[1]);
      home.write("{\"a\":" + deep + "," + mine + ",\n \"b\": {\n  \"c\": " + deep + "\n }\n}\n");
      remember_two(1);
      const Json all = Json::parse(home.text());
      CHECK(all["another machine"] == Json::object({{"task", "theirs"}}));
      const TuneCache cache;
      CHECK(cache.find("task 1a") == "choice 1");
    }
}

TEST_CASE("cache of choices: a file or home that cannot be used costs no run") {
  const CacheHome home;
  std::filesystem::create_directories(home.file());  // a folder in the file's place
  remember_two(1);
  const TuneCache cache;
  CHECK(cache.find("task 1a").empty());
}

TEST_CASE("tuner: the fastest is found and remembered, and little gain changes nothing") {
  const CacheHome home;
  const auto candidate = [](const char* name, double seconds) {
    return TuneCandidate{name, [seconds] { return [seconds] { return seconds; }; }};
  };
  {
    Tuner tuner;
    CHECK(tuner.choose("clear", {candidate("slow", 3e-3), candidate("fast", 1e-3), candidate("middle", 2e-3)}, {}) ==
          1);
    CHECK(tuner.choose("near", {candidate("rule", 1.00e-3), candidate("other", 0.98e-3)}, {}) == 0);
    CHECK(tuner.choose("worth it", {candidate("rule", 1.00e-3), candidate("other", 0.95e-3)}, {}) == 1);
    CHECK(tuner.choose("strict", {candidate("rule", 1.00e-3), candidate("other", 0.95e-3)}, {.worth_it = 0.9}) == 0);
  }
  Tuner tuner;
  CHECK(tuner.choose("clear", {candidate("slow", 1e-3), candidate("fast", 2e-3)}, {}) == 1);
  CHECK(tuner.choose("clear", {candidate("slow", 1e-3), candidate("unknown", 2e-3)}, {}) == 0);
}
