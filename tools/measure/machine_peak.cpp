#include "tools/measure/machine_peak.hpp"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <sstream>
#include <vector>

#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "fold/engine/engine.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// The fastest of several runs counts, because other programs can only make a run slower.
constexpr int kRuns = 20;

// The convolution is 1x1, because no algorithm needs fewer multiplications for that, and its pictures fit the caches.
double convolution_gflops(Dtype dtype) {
  Model model;
  model.graph.add("input", Input{512, 16, 16}, {});
  model.graph.add("conv", Conv2d{.out = 512}, {0});
  model.tensors = initial_tensors(model.graph, 1);
  Engine engine(model, {.batch = 8, .dtype = dtype, .tune = false});
  std::fill(engine.input().begin(), engine.input().end(), 1.0f);
  double best = 0;
  for (int i = 0; i < kRuns; ++i) {
    std::vector<double> seconds(engine.steps().size());
    engine.run(seconds);
    for (std::size_t s = 0; s < seconds.size(); ++s)  // with bf16, steps that convert come before and after
      best = std::max(best, 2e-9 * static_cast<double>(engine.steps()[s].macs) / seconds[s]);
  }
  return best;
}

double copy_gbytes() {
  constexpr int64_t kFloats = int64_t{32} << 20;
  AlignedVector<float> source(kFloats, 1.0f), copy(kFloats);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRuns; ++i) {
    const auto start = Clock::now();
    parallel_for(kFloats, [&](int64_t begin, int64_t end, int) {
      std::copy(source.begin() + begin, source.begin() + end, copy.begin() + begin);
    });
    best = std::min(best, seconds_since(start));
  }
  return 2e-9 * kFloats * sizeof(float) / best;
}

}  // namespace

Peak measure_peak(Dtype dtype) {
  return {.gflops = convolution_gflops(dtype), .gbytes = copy_gbytes()};
}

std::ostream& operator<<(std::ostream& out, const Peak& peak) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(0) << "peak: " << peak.gflops << " GFLOP/s (a large convolution), "
       << std::setprecision(1) << peak.gbytes << " GB/s (a copy)";
  return out << text.str();
}

}  // namespace pleat
