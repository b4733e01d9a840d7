// The C API (pleat.h): it gives the same results as the engine, refuses every wrong call with a text, and changes no
// setting of its caller.
#include <doctest/doctest.h>
#include <malloc.h>
#include <omp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/file.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "core/safetensors.hpp"
#include "core/simd/instruction_set.hpp"
#include "core/version.hpp"
#include "fold/engine/engine.hpp"
#include "fold/engine/pleat.h"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

using namespace pleat;

namespace {

struct Free {
  void operator()(pleat_engine* engine) const { pleat_free(engine); }
};
using Handle = std::unique_ptr<pleat_engine, Free>;

Model small_model() {
  Model model;
  int x = model.graph.add("input", Input{3, 9, 8}, {});
  x = model.graph.add("conv", Conv2d{16, 3, 2, Padding::uniform(1), 1, true}, {x});
  x = model.graph.add("act", AlphaAct{Nonlinearity::relu, "act.alpha"}, {x});
  x = model.graph.add("pool", GlobalAvgPool{}, {x});
  model.graph.add("fc", Linear{2, true}, {x});
  model.tensors = initial_tensors(model.graph, 1);
  model.mean = {0.1f, 0.2f, 0.3f};
  model.std = {0.4f, 0.5f, 0.6f};
  model.classes = {"cat", "polar bear"};
  return model;
}

std::string saved_model(const TempDir& folder) {
  const std::string path = folder.path("m.safetensors");
  save_model(path, small_model());
  return path;
}

Handle load(const std::string& path, int64_t batch = 1, int threads = 0, const char* dtype = "f32") {
  const pleat_options options{.size = sizeof options, .batch = batch, .dtype = dtype, .threads = threads, .untuned = 1};
  return Handle(pleat_load(path.c_str(), &options));
}

std::vector<float> random_input(std::size_t size, uint64_t seed = 1) {
  std::vector<float> input(size);
  Rng rng(seed);
  for (float& value : input) value = static_cast<float>(rng.normal());
  return input;
}

std::vector<float> run(pleat_engine* engine, const std::vector<float>& input, std::size_t outputs) {
  std::vector<float> logits(outputs);
  REQUIRE(pleat_run(engine, input.data(), input.size(), logits.data(), logits.size()) == 0);
  return logits;
}

constexpr std::size_t kPicture = 9 * 8 * 3;

}  // namespace

TEST_CASE("C API: gives the engine's logits and the contents of the file") {
  const TempDir folder;
  const Handle handle = load(saved_model(folder), 2);
  REQUIRE(handle);
  int64_t shape[4];
  CHECK(pleat_input_shape(handle.get(), shape) == 0);
  CHECK(std::vector(shape, shape + 4) == std::vector<int64_t>{2, 9, 8, 3});
  CHECK(pleat_output_shape(handle.get(), shape) == 0);
  CHECK(std::vector(shape, shape + 4) == std::vector<int64_t>{2, 1, 1, 2});
  CHECK(pleat_mean(handle.get())[2] == 0.3f);
  CHECK(pleat_std(handle.get())[2] == 0.6f);
  CHECK(pleat_class_count(handle.get()) == 2);
  CHECK(std::string(pleat_class_name(handle.get(), 1)) == "polar bear");
  CHECK(std::string(pleat_version()) == kVersion);

  Engine engine(small_model(), {.batch = 2, .tune = false});
  const std::vector<float> input = random_input(2 * kPicture);
  std::ranges::copy(input, engine.input().begin());
  const std::span<const float> expected = engine.run();
  CHECK(run(handle.get(), input, 4) == std::vector(expected.begin(), expected.end()));
  CHECK(run(handle.get(), random_input(2 * kPicture, 2), 4) != run(handle.get(), input, 4));

  const std::vector<float> both = run(handle.get(), input, 4), first(input.begin(), input.begin() + kPicture);
  CHECK(run(handle.get(), first, 2) == std::vector(both.begin(), both.begin() + 2));  // fewer than the batch

  const Handle usual(pleat_load(saved_model(folder).c_str(), nullptr));
  REQUIRE(pleat_input_shape(usual.get(), shape) == 0);
  CHECK(shape[0] == 1);
}

TEST_CASE("C API: refuses wrong arguments with a text, and the handle can still be used") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const Handle handle = load(path);
  REQUIRE(handle);
  const std::vector<float> input = random_input(kPicture);
  const std::vector<float> expected = run(handle.get(), input, 2);
  float logits[2];
  int64_t shape[4];
  const auto error = [](bool failed) {
    CHECK(failed);
    return std::string(pleat_error());
  };

  CHECK(error(!pleat_load(nullptr, nullptr)) == "path is NULL");
  CHECK(error(pleat_run(nullptr, input.data(), kPicture, logits, 2) == -1) == "engine is NULL");
  CHECK(error(pleat_run(handle.get(), nullptr, kPicture, logits, 2) == -1) == "input is NULL");
  CHECK(error(pleat_run(handle.get(), input.data(), kPicture, nullptr, 2) == -1) == "output is NULL");
  CHECK(error(pleat_run(handle.get(), input.data(), kPicture - 1, logits, 2) == -1) ==
        "input has 215 numbers, expected 216 for each of 1 to 1 pictures");
  CHECK(error(pleat_run(handle.get(), input.data(), 0, logits, 0) == -1) ==
        "input has 0 numbers, expected 216 for each of 1 to 1 pictures");
  CHECK(error(pleat_run(handle.get(), input.data(), 2 * kPicture, logits, 4) == -1) ==
        "input has 432 numbers, expected 216 for each of 1 to 1 pictures");
  CHECK(error(pleat_run(handle.get(), input.data(), kPicture, logits, 10) == -1) ==
        "output has room for 10 numbers, expected 2 for 1 pictures");
  CHECK(error(pleat_input_shape(nullptr, shape) == -1) == "engine is NULL");
  CHECK(error(pleat_input_shape(handle.get(), nullptr) == -1) == "shape is NULL");
  CHECK(error(pleat_output_shape(nullptr, shape) == -1) == "engine is NULL");
  CHECK(error(!pleat_mean(nullptr)) == "engine is NULL");
  CHECK(error(!pleat_std(nullptr)) == "engine is NULL");
  CHECK(error(pleat_class_count(nullptr) == -1) == "engine is NULL");
  CHECK(error(!pleat_class_name(nullptr, 0)) == "engine is NULL");
  CHECK(error(!pleat_class_name(handle.get(), -1)) == "class -1: the model names 2");
  CHECK(error(!pleat_class_name(handle.get(), 2)) == "class 2: the model names 2");
  pleat_free(nullptr);

  CHECK(error(!load(path, -1)) == "batch is -1, expected 1 to 65536");
  CHECK(error(!load(path, int64_t{1} << 40)) == "batch is 1099511627776, expected 1 to 65536");
  CHECK(error(!load(path, 1, -2)) == "threads: got -2, expected 1 to 1024");
  CHECK(error(!load(path, 1, 2000)) == "threads: got 2000, expected 1 to 1024");
  CHECK(error(!load(path, 1, 1, "int8")) == "dtype is 'int8', expected 'f32' or 'bf16'");
  pleat_options options{.size = 0, .batch = 1, .dtype = nullptr, .threads = 1, .untuned = 0};
  CHECK(error(!pleat_load(path.c_str(), &options)) == "options.size is 0, expected sizeof(pleat_options)");
  options.size = sizeof options, options.untuned = 7;
  CHECK(error(!pleat_load(path.c_str(), &options)) == "untuned is 7, expected 0 or 1");
  CHECK(error(!pleat_share(nullptr)) == "engine is NULL");
  CHECK(run(handle.get(), input, 2) == expected);
}

TEST_CASE("C API: completes the options of an earlier version and refuses unknown ones of a later version") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  struct Later {
    pleat_options known;
    int64_t more;
  } later{{.size = sizeof later, .batch = 3, .dtype = nullptr, .threads = 0, .untuned = 1}, 0};
  int64_t shape[4];
  const Handle asks_nothing_new(pleat_load(path.c_str(), &later.known));
  CHECK(pleat_input_shape(asks_nothing_new.get(), shape) == 0);
  CHECK(shape[0] == 3);
  later.more = 1;
  CHECK(!pleat_load(path.c_str(), &later.known));
  CHECK(holds(pleat_error(), "does not know"));
  // The struct ends before dtype, so the bytes after its end must not be read.
  const pleat_options earlier{
      .size = offsetof(pleat_options, dtype), .batch = 3, .dtype = "junk", .threads = -1, .untuned = 9};
  const Handle completed(pleat_load(path.c_str(), &earlier));
  CHECK(pleat_input_shape(completed.get(), shape) == 0);
  CHECK(shape[0] == 3);
}

TEST_CASE("C API: handles that share weights give the same logits, whichever is freed first") {
  const TempDir folder;
  const std::vector<float> input = random_input(kPicture), other = random_input(kPicture, 2);
  Handle handle = load(saved_model(folder), 1, 2);
  REQUIRE(handle);
  const std::vector<float> expected = run(handle.get(), input, 2);
  const Handle shared(pleat_share(handle.get()));
  REQUIRE(shared);
  run(handle.get(), other, 2);  // in memory of its own
  CHECK(run(shared.get(), input, 2) == expected);
  CHECK(std::string(pleat_class_name(shared.get(), 0)) == "cat");
  handle.reset();
  CHECK(run(shared.get(), input, 2) == expected);
}

TEST_CASE("C API: computes in bf16 if the CPU can, and refuses otherwise") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const Handle narrow = load(path, 1, 0, "bf16"), wide = load(path);
  if (!cpu_has_bf16()) {
    CHECK(!narrow);
    CHECK(holds(pleat_error(), "bf16 needs a CPU with AVX512-BF16"));
    return;
  }
  REQUIRE(narrow);
  const std::vector<float> input = random_input(kPicture), a = run(narrow.get(), input, 2),
                           b = run(wide.get(), input, 2);
  CHECK(a != b);
  for (int i : {0, 1}) CHECK(a[i] == doctest::Approx(b[i]).epsilon(0.02));
}

TEST_CASE("C API: the error for a bad file names the file and the reason") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const SafetensorsFile good = load_safetensors(path);
  const auto error = [&] {
    CHECK(!load(path));
    const std::string text = pleat_error();
    CHECK(text.starts_with(path + ": "));
    return text;
  };
  const std::vector<std::byte> bytes = read_file(path);
  write_file(path, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size() - 5));
  CHECK(error() == error_of<std::runtime_error>([&] { load_model(path); }));
  SafetensorsFile file = good;
  file.metadata["pleat.graph"] += "conv9 later <- fc : out=3\n";
  save_safetensors(path, file.tensors, file.metadata);
  CHECK(holds(error(), "unknown op 'conv9'"));
  file.metadata.clear();
  save_safetensors(path, file.tensors, file.metadata);
  CHECK(holds(error(), "is not a Pleat model"));
  CHECK(!load(folder.path("absent")));
  CHECK(holds(pleat_error(), folder.path("absent")));
}

TEST_CASE("C API: each thread has its own error text, which stays until its next error") {
  CHECK(!pleat_load(nullptr, nullptr));
  std::string elsewhere = "?", after;
  std::thread([&] {
    elsewhere = pleat_error();
    pleat_class_count(nullptr);
    after = pleat_error();
  }).join();
  CHECK(elsewhere.empty());
  CHECK(after == "engine is NULL");
  CHECK(std::string(pleat_error()) == "path is NULL");
}

TEST_CASE("C API: leaves the caller's floating-point mode and OpenMP settings unchanged") {
  const TempDir folder;
  std::fesetenv(FE_DFL_ENV);  // tests before this one flush denormals
  const int before = omp_get_max_threads();
  omp_set_num_threads(before + 3);
  // On every thread of the caller's own team: what is not flushed to zero.
  const auto denormals = [] {
    std::atomic<int> kept = 0;
#pragma omp parallel num_threads(3)
    {
      volatile float denormal = 1e-40f;
      kept += denormal * 0.5f > 0;
    }
    return kept.load();
  };
  REQUIRE(denormals() == 3);
  volatile float denormal = 1e-40f;
  const Handle handle = load(saved_model(folder), 1, 2);
  REQUIRE(handle);
  run(handle.get(), random_input(kPicture), 2);
  CHECK(denormal * 0.5f > 0);
  CHECK(denormals() == 3);
  CHECK(std::fegetround() == FE_TONEAREST);
  CHECK(omp_get_max_threads() == before + 3);
  omp_set_num_threads(before);
}

TEST_CASE("C API: handles with different thread counts work, inside a caller's parallel region too") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const std::vector<float> input = random_input(kPicture);
  const Handle one = load(path, 1, 1), two = load(path, 1, 2), three = load(path, 1, 3);
  const std::vector<float> expected = run(one.get(), input, 2);
  for (pleat_engine* engine : {two.get(), three.get(), two.get()}) {
    const std::vector<float> logits = run(engine, input, 2);
    for (int i : {0, 1}) CHECK(logits[i] == doctest::Approx(expected[i]).epsilon(1e-5));
  }
  int right = 0;
#pragma omp parallel num_threads(2) reduction(+ : right)
  {
    const Handle own = load(path, 1, 2);
    float logits[2];
    right += own && pleat_run(own.get(), input.data(), kPicture, logits, 2) == 0 &&
             std::abs(logits[0] - expected[0]) <= 1e-5f * std::abs(expected[0]);
  }
  CHECK(right == 2);
}

TEST_CASE("C API: a child process goes on with its parent's handles") {
  const TempDir folder;
  const Handle handle = load(saved_model(folder), 1, 3);
  REQUIRE(handle);
  const std::vector<float> input = random_input(kPicture), expected = run(handle.get(), input, 2);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    std::vector<float> logits(2);
    const int failed = pleat_run(handle.get(), input.data(), input.size(), logits.data(), logits.size());
    _exit(failed == 0 && logits == expected ? 7 : 8);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(run(handle.get(), input, 2) == expected);
}

TEST_CASE("C API: a child process loads, too, and limits of the host are errors") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const Handle handle = load(path, 1, 3);
  REQUIRE(handle);
  const std::vector<float> input = random_input(kPicture), expected = run(handle.get(), input, 2);
  // Runs `body` in a child, which ends well with 7.
  const auto in_child = [](const std::function<bool()>& body) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      _exit(body() ? 7 : 8);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
  };
  CHECK(in_child([&] { return run(load(path, 1, 3).get(), input, 2) == expected; }) == 7);
  const auto limited = [&](auto what, rlim_t limit, const std::function<bool()>& body) {
    return in_child([&] {
      const rlimit bound{limit, limit};
      return setrlimit(what, &bound) == 0 && body();
    });
  };
  // No further threads; root is not bound by the limit, so the child becomes somebody else.
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
  CHECK(limited(RLIMIT_NPROC, 1, [&] {
          if (geteuid() == 0 && setuid(65533) != 0) return false;
          const Handle more(load(path, 1, 3));
          if (!more) return std::string(pleat_error()).find("thread") != std::string::npos;
          std::vector<float> logits(2);
          return pleat_run(more.get(), input.data(), input.size(), logits.data(), logits.size()) != 0 &&
                 std::string(pleat_error()).find("thread") != std::string::npos;
        }) == 7);
  // The choices that are timed cannot be written down, which costs time alone.
  CHECK(limited(RLIMIT_FSIZE, 1, [&] { return run(load(path, 1, 2).get(), input, 2).size() == 2; }) == 7);
}

TEST_CASE("C API: eight threads load at once") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const std::vector<float> input = random_input(kPicture), expected = run(load(path, 1, 2).get(), input, 2);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 5; ++n) {
        std::vector<float> logits(2);
        const Handle handle = load(path, 1, 2);
        good +=
            handle && pleat_run(handle.get(), input.data(), input.size(), logits.data(), 2) == 0 && logits == expected;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 40);
}

TEST_CASE("C API: loading and freeing repeatedly does not leak memory") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const std::vector<float> input = random_input(kPicture);
  const auto in_use_after = [&](int loads) {
    for (int i = 0; i < loads; ++i) run(load(path).get(), input, 2);
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  // A leak would cost at least one block of malloc per load, while the memory that malloc keeps for reuse does not grow
  // with the number of loads.
  const std::size_t before = in_use_after(100);
  CHECK(in_use_after(400) < before + 400 * 32);
}

TEST_CASE("C API: numbers that are not finite are an error, in the model, the input and the logits") {
  const TempDir folder;
  const std::string path = saved_model(folder);
  const Handle good = load(path);
  REQUIRE(good);
  std::vector<float> input = random_input(3 * 9 * 8), output(2, 7);
  input[5] = NAN;
  CHECK(pleat_run(good.get(), input.data(), input.size(), output.data(), output.size()) == -1);
  CHECK(holds(pleat_error(), "input[5] is nan, expected a finite number"));
  CHECK(output == std::vector<float>{7, 7});

  // Numbers whose products no float holds.
  Model model = small_model();
  for (float& weight : model.tensors.at("fc.weight").values) weight = 3e38f;
  for (float& bias : model.tensors.at("conv.bias").values) bias = 1e10f;
  save_model(path, model);
  const Handle large = load(path);
  REQUIRE(large);
  input[5] = 0;
  CHECK(pleat_run(large.get(), input.data(), input.size(), output.data(), output.size()) == -1);
  CHECK(holds(pleat_error(), "pleat_run: logit 0 of picture 0 is "));
  CHECK(output == std::vector<float>{7, 7});

  // A file with NaN, which save_model would refuse.
  std::map<std::string, std::string> described = metadata(model);
  model.tensors.at("fc.bias").values[1] = NAN;
  save_safetensors(path, model.tensors, described);
  CHECK(!load(path));
  CHECK(holds(pleat_error(), "m.safetensors: parameter 'fc.bias'[1] is nan, expected a finite number"));
}
