#include "fold/engine/choose_engine_kernel.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"

namespace pleat {
namespace {

// One way to compute a task, and its name in the cache. The first of several is the usual one.
struct Way {
  std::string name;
  std::function<std::vector<EngineStep>()> make;
};

// The block of which task `at` is the first.
std::optional<Task> block_from(const EngineNetwork& network, const std::vector<Task>& tasks, std::size_t at) {
  for (const std::size_t size : {3, 2}) {
    if (at + size > tasks.size()) continue;
    std::optional<Task> block = join_block(network.graph, tasks, at + size - 1);
    if (block && block->before.size() == size - 1 && inverted_residual(network, *block).is_supported() &&
        network.types[block->result] == network.types[0])
      return block;
  }
  return std::nullopt;
}

std::vector<EngineStep> steps_apart(const EngineNetwork& network, const Task& block) {
  std::vector<EngineStep> steps;
  for (const Task& task : block.before) std::ranges::move(make_steps(network, task), std::back_inserter(steps));
  Task last = block;
  last.before.clear();
  std::ranges::move(make_steps(network, last), std::back_inserter(steps));
  return steps;
}

constexpr const char* kApart = "apart";

std::vector<Way> ways_of_block(const EngineNetwork& network, const Task& block) {
  std::vector<Way> ways;
  for (const BlockCut& cut : block_cuts(inverted_residual(network, block)))
    ways.push_back({concat("rows ", cut.rows, " chunk ", cut.chunk, " splits ", cut.splits),
                    [&, cut] { return std::vector{make_block_step(network, block, cut)}; }});
  ways.push_back({kApart, [&] { return steps_apart(network, block); }});
  return ways;
}

std::vector<Way> ways_of_convolution(const EngineNetwork& network, const Task& task) {
  // By measurements: Winograd wants channels and work enough, in bfloat16 half as many, and its weights, 1.8 or 4 times
  // as many, want pixels enough to be read for; where hardly any are, weights are all that counts.
  constexpr int64_t kEnough = 32, kEnoughWork = 1 << 14, kEnoughFor4 = 256, kFew = 16;
  const Nhwc &x = network.shapes[network.graph.nodes[task.op].inputs[0]], &y = network.shapes[task.op];
  std::vector<Way> ways{{"direct", [&] { return make_steps(network, task); }}};
  std::size_t usual = 0;
  // Timed alone it may win there, too, but in the network its weights drive those of other layers from the cache.
  if (y.pixels() > kFew)
    for (const int tile : winograd_tiles(network, task))
      ways.push_back(
          {concat("winograd ", tile), [&, tile] { return std::vector{make_winograd_step(network, task, tile)}; }});
  if (ways.size() > 1) {
    const int64_t channels = std::min(x.c, y.c), gain = network.types[task.result] == Dtype::f32 ? 1 : 2;
    if (gain * channels >= kEnough && gain * y.pixels() * channels >= kEnoughWork)
      usual = y.pixels() < kEnoughFor4 ? 1 : ways.size() - 1;
  }
  if (is_product(network, task)) {
    const std::vector<ProductCut> cuts = product_cuts(product_conv(network, task));
    if (y.pixels() <= kFew && !cuts.empty()) usual = ways.size();
    for (const ProductCut& cut : cuts)
      ways.push_back({concat("product lines ", cut.lines, " splits ", cut.splits),
                      [&, cut] { return std::vector{make_product_step(network, task, cut)}; }});
  }
  std::swap(ways.front(), ways[usual]);
  return ways;
}

// What decides which way is fastest. Another number where ways or their speed have changed.
std::string describe(const EngineNetwork& network, const Task& task) {
  std::string text = network.types[task.result] == Dtype::f32 ? "engine 2 f32 " : "engine 2 bf16 ";
  text += to_string(network.shapes[network.graph.nodes[task.first()].inputs[0]]);
  const auto add = [&](const Task& part) {
    const Node& node = network.graph.nodes[part.op];
    const std::string line = to_text(network.graph, part.op);
    text += concat(", ", kind(node.op), line.substr(line.find(" :")));
    if (part.residual >= 0) text += " + skip";
    if (part.activation >= 0) text += " + alpha_act";
  };
  for (const Task& part : task.before) add(part);
  add(task);
  return text;
}

// Brings memory to the caches.
void read(std::span<const std::byte> memory) {
  constexpr int64_t kLine = 64;
  const auto* bytes = reinterpret_cast<const volatile unsigned char*>(memory.data());
  parallel_for(static_cast<int64_t>(memory.size()) / kLine, [&](int64_t begin, int64_t end, int) {
    for (int64_t line = begin; line < end; ++line) bytes[line * kLine];
  });
}

// Ways to compute the same, on the same random values, to be timed.
class Contest {
 public:
  struct Entry {
    const Way* way;
    AlignedVector<std::byte> scratch;
    std::vector<Work> works;
    std::vector<double> seconds;
  };

  Contest(const EngineNetwork& network, std::span<const std::byte> others)
      : network_(network), others_(others), memory_{std::vector<std::byte*>(network.shapes.size(), nullptr), nullptr} {}

  Entry enter(const Way& way) {
    Entry entry{&way, {}, {}, {}};
    const std::vector<EngineStep> steps = way.make();
    std::size_t scratch = 0;
    for (const EngineStep& step : steps) {
      for (const int input : network_.graph.nodes[step.task.first()].inputs) ensure(input);
      ensure(step.task.residual), ensure(step.task.result), ensure(step.task.op);
      scratch = std::max(scratch, step.scratch);
    }
    entry.scratch.resize(scratch);
    memory_.scratch = entry.scratch.data();
    for (const EngineStep& step : steps) entry.works.push_back(step.bind(memory_));
    return entry;
  }

  // Notes the seconds of the fastest of several runs. Before each, as in the network, all `others` have been in the
  // caches, and the input last.
  double time(Entry& entry) const {
    using Clock = std::chrono::steady_clock;
    constexpr double kLongest = 0.005;  // seconds of all
    constexpr int kLeast = 3, kMost = 40;
    double least = 1e30;
    const Clock::time_point begin = Clock::now();
    const auto seconds_since = [](const Clock::time_point& t) {
      return std::chrono::duration<double>(Clock::now() - t).count();
    };
    for (int run = 0; run < kLeast || (run < kMost && seconds_since(begin) < kLongest); ++run) {
      read(others_);
      read(buffers_.front());
      const Clock::time_point start = Clock::now();
      for (const Work& work : entry.works) work();
      least = std::min(least, seconds_since(start));
    }
    entry.seconds.push_back(least);
    return least;
  }

 private:
  void ensure(int node) {
    if (node < 0 || memory_.values[node] != nullptr) return;
    AlignedVector<std::byte>& buffer = buffers_.emplace_back(network_.bytes(node));
    const auto fill = [&](auto* values) {
      for (int64_t i = 0; i < network_.shapes[node].size(); ++i) values[i] = static_cast<float>(rng_.uniform());
    };
    if (network_.types[node] == Dtype::f32)
      fill(reinterpret_cast<float*>(buffer.data()));
    else
      fill(reinterpret_cast<Bf16*>(buffer.data()));
    memory_.values[node] = buffer.data();
  }

  const EngineNetwork& network_;
  std::span<const std::byte> others_;
  Memory memory_;
  std::vector<AlignedVector<std::byte>> buffers_;
  Rng rng_{1};
};

// The fastest of several ways. Those that come near it are timed again, in turn: a machine's speed changes meanwhile.
const Way& fastest(const EngineNetwork& network, const std::vector<Way>& ways, std::span<const std::byte> others) {
  constexpr double kNear = 1.15, kWorthIt = 0.97;  // less than so much faster is noise
  constexpr int kRounds = 5;
  Contest contest(network, others);
  std::vector<Contest::Entry> finalists;
  double least = 1e30;
  for (const Way& way : ways) {
    Contest::Entry entry = contest.enter(way);
    const double seconds = contest.time(entry);
    least = std::min(least, seconds);
    if (seconds < kNear * least) finalists.push_back(std::move(entry));
  }
  std::erase_if(finalists, [&](const Contest::Entry& f) { return f.seconds.front() >= kNear * least; });
  if (finalists.size() == 1) return *finalists.front().way;
  for (int round = 0; round < kRounds; ++round)
    for (Contest::Entry& f : finalists) contest.time(f);
  const Contest::Entry* best = nullptr;
  for (Contest::Entry& f : finalists) {
    std::ranges::nth_element(f.seconds, f.seconds.begin() + kRounds / 2);
    if (best == nullptr || f.seconds[kRounds / 2] < kWorthIt * best->seconds[kRounds / 2]) best = &f;
  }
  return *best->way;
}

// The way that is known to be fastest, or found to be so by timing.
std::vector<EngineStep> choose(const EngineNetwork& network, const std::vector<Way>& ways, const std::string& shape,
                               Tuning* tuning) {
  if (tuning == nullptr) return ways.front().make();
  const std::string known = tuning->cache.find(shape);
  for (const Way& way : ways)
    if (way.name == known) return way.make();
  tuning->others.resize(tuning->run_bytes);
  const Way& best = fastest(network, ways, tuning->others);
  tuning->cache.remember(shape, best.name);
  return best.make();
}

}  // namespace

Tuning::Tuning(const EngineNetwork& network) {
  constexpr std::size_t kMost = 64 << 20;  // no processor's cache keeps more of it
  const std::size_t size = network.types[0] == Dtype::f32 ? 4 : 2;
  std::size_t weights = 0;
  int64_t largest = 0;
  for (const auto& [name, tensor] : network.tensors) weights += size * tensor.values.size();
  for (int node = 0; node <= network.graph.output(); ++node) largest = std::max(largest, network.bytes(node));
  run_bytes = std::min(weights + 2 * static_cast<std::size_t>(largest), kMost);
}

std::vector<EngineStep> choose_steps(const EngineNetwork& network, const std::vector<Task>& tasks, std::size_t at,
                                     Tuning* tuning) {
  if (const std::optional<Task> block = block_from(network, tasks, at)) {
    std::vector<EngineStep> steps = choose(network, ways_of_block(network, *block), describe(network, *block), tuning);
    if (steps.size() == 1) return steps;  // else one by one, the rest of them again as a smaller block
    return make_steps(network, tasks[at]);
  }
  if (!winograd_tiles(network, tasks[at]).empty() || is_product(network, tasks[at]))
    return choose(network, ways_of_convolution(network, tasks[at]), describe(network, tasks[at]), tuning);
  return make_steps(network, tasks[at]);
}

}  // namespace pleat
