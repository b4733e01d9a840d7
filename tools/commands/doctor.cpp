// `pleat doctor` shows what this machine offers and which libraries and data sets were found, and tests that the
// kernels agree.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <ostream>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/cores.hpp"
#include "core/machine.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "core/simd/instruction_set.hpp"
#include "data/dataset.hpp"
#include "fold/engine/engine.hpp"
#include "ops/conv/gemm/gemm.hpp"
#include "ops/exec/exec.hpp"
#include "ops/spec.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/open_model.hpp"

namespace pleat {
namespace {

// With initial weights, the logits of different kernels differ only by rounding, by about 1e-6 of their range.
constexpr double kTolerance = 1e-4;

// The greatest difference of two elements, divided by the range of `a`.
double relative_difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::isfinite(b[i]) ? std::abs(double{a[i]} - b[i]) : HUGE_VAL);
  const auto [low, high] = std::minmax_element(a.begin(), a.end());
  return largest / (double{*high} - *low);
}

struct SelfTest {
  double onednn = 0, engine = 0;  // relative differences from the native kernels
  double gflops = 0;              // of the engine; a MAC counts as two operations
  bool ok() const { return onednn <= kTolerance && engine <= kTolerance; }
};

// Runs ResNet-20 with initial weights on random pictures by every kind of kernel, then the engine for about a second.
SelfTest run_self_test(uint64_t seed) {
  constexpr int64_t kBatch = 16;
  Model model = open_model("resnet20", seed);
  Exec native(model.graph, model.tensors, {.batch = kBatch, .kernels = Kernels::native});
  Exec onednn(model.graph, model.tensors, {.batch = kBatch, .kernels = Kernels::onednn});
  Engine engine(model, {.batch = kBatch});
  Rng rng(seed, 1);
  for (float& value : engine.input()) value = static_cast<float>(rng.normal());
  const std::vector<float> images(engine.input().begin(), engine.input().end());

  const std::span<const float> expected = native.run(images);
  SelfTest result;
  result.onednn = relative_difference(expected, onednn.run(images));
  result.engine = relative_difference(expected, engine.run());

  double best = HUGE_VAL;
  for (const auto start = Clock::now(); Clock::now() - start < std::chrono::seconds(1);) {
    const auto begin = Clock::now();
    engine.run();
    best = std::min(best, seconds_since(begin));
  }
  result.gflops = 2e-9 * static_cast<double>(kBatch * macs(model.graph)) / best;
  return result;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += word + ' ';
  return text;
}

}  // namespace

int doctor_command(int argc, char** argv) {
  Cli cli("pleat doctor",
          "Shows the CPU's features, library versions, threads and the data sets found, and runs a self-test of a few "
          "seconds.",
          "pleat doctor --json");
  if (!cli.parse(argc, argv)) return 0;
  std::ostream& out = cli.out();
  const Machine machine = read_machine();
  const InstructionSetInUse isa = instruction_set();
  const std::size_t cores = allowed_cores().size();
  const std::optional<double> quota = cpu_quota();
  out << "pleat      " << kVersion << ", compiled by GCC " << __VERSION__ << "\ncpu        " << machine.cpu
      << "\nfeatures   " << join(machine.features) << "\nkernels    in " << isa.name
      << (isa.is_overridden ? concat(" by PLEAT_ISA; the best here is ", isa.best) : ", the best here")
      << "\ncores      " << cores << " physical ones allowed, "
      << (quota ? concat("time limited to ", *quota, " of them") : "time not limited") << ", " << num_threads()
      << " threads used\noneDNN     " << machine.onednn << "\nBLAS       " << blas_version() << '\n';

  nlohmann::ordered_json datasets;
  for (const std::string& name : dataset_names()) {
    try {
      datasets[name] = find_dataset(name);
      out << "data       " << name << " in " << find_dataset(name) << '\n';
    } catch (const std::runtime_error&) {
      datasets[name] = nullptr;
      out << "data       " << name << " not found (pleat data fetch " << name << ")\n";
    }
  }

  const SelfTest test = run_self_test(cli.seed());
  out << "self-test  " << (test.ok() ? "passed" : "FAILED") << ": compared with the native kernels, oneDNN's differ by "
      << test.onednn << ", the engine by " << test.engine << " of the logits' range (at most " << kTolerance
      << ")\nspeed      " << std::llround(test.gflops) << " GFLOP/s of the engine with ResNet-20\n";
  cli.finish({{"cpu", machine.cpu},
              {"features", machine.features},
              {"instruction_set",
               {{"in_use", isa.name},
                {"best", isa.best},
                {"overridden", isa.is_overridden},
                {"choices", isa.choices},
                {"missing", isa.missing}}},
              {"physical_cores", cores},
              {"cpu_quota", quota ? nlohmann::ordered_json(*quota) : nlohmann::ordered_json()},
              {"compiler", __VERSION__},
              {"onednn", machine.onednn},
              {"blas", blas_version()},
              {"datasets", datasets},
              {"self_test",
               {{"passed", test.ok()},
                {"onednn_rel_diff", test.onednn},
                {"engine_rel_diff", test.engine},
                {"gflops", test.gflops}}}});
  PLEAT_CHECK(test.ok(), "self-test failed: compared with the native kernels, oneDNN's differ by ", test.onednn,
              " and the engine by ", test.engine, " of the logits' range, expected at most ", kTolerance);
  return 0;
}

}  // namespace pleat
