#include "fold/engine/choose_engine_kernel.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/rng.hpp"

namespace pleat {
namespace {

// One way to compute a task, and its name in the cache. The first of several is the one by rule.
struct Way {
  std::string name;
  std::function<std::vector<EngineStep>()> make;
};

// True if the kernel of a block can compute all its activations.
bool activates_in_epilogues(const EngineNetwork& network, const Task& block) {
  const auto can = [&](const Task& task) { return is_epilogue(network, task.activation); };
  return can(block) && std::ranges::all_of(block.before, can);
}

// The block of which task `at` is the first.
std::optional<Task> block_from(const EngineNetwork& network, const std::vector<Task>& tasks, std::size_t at) {
  for (const std::size_t size : {3, 2}) {
    if (at + size > tasks.size()) continue;
    std::optional<Task> block = join_block(network.graph, tasks, at + size - 1);
    if (block && block->before.size() == size - 1 && activates_in_epilogues(network, *block) &&
        inverted_residual(network, *block).is_supported(network.types[0]) &&
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

// make(task), and an activation that the kernel's epilogue cannot compute as a step behind it.
template <class Make>
std::vector<EngineStep> with_activation_behind(const EngineNetwork& network, const Task& task, const Make& make) {
  if (is_epilogue(network, task.activation)) return {make(task)};
  return {make(without_activation(task)), make_activation_step(network, task)};
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
      ways.push_back({concat("winograd ", tile), [&, tile] {
                        return with_activation_behind(network, task, [&](const Task& kernel) {
                          return make_winograd_step(network, kernel, tile);
                        });
                      }});
  if (ways.size() > 1) {
    const int64_t channels = std::min(x.c, y.c), gain = network.types[task.result] == Dtype::f32 ? 1 : 2;
    if (gain * channels >= kEnough && gain * y.pixels() * channels >= kEnoughWork)
      usual = y.pixels() < kEnoughFor4 ? 1 : ways.size() - 1;
  }
  if (is_product(network, task)) {
    const std::vector<ProductCut> cuts = product_cuts(product_conv(network, without_activation(task)));
    if (y.pixels() <= kFew && !cuts.empty()) usual = ways.size();
    for (const ProductCut& cut : cuts)
      ways.push_back({concat("product lines ", cut.lines, " splits ", cut.splits), [&, cut] {
                        return with_activation_behind(
                            network, task, [&](const Task& kernel) { return make_product_step(network, kernel, cut); });
                      }});
  }
  std::swap(ways.front(), ways[usual]);
  return ways;
}

// The task in the cache: everything that decides which way is fastest.
std::string describe(const EngineNetwork& network, const Task& task) {
  std::string text = network.types[task.result] == Dtype::f32 ? "engine f32 " : "engine bf16 ";
  text += to_string(network.shapes[network.graph.nodes[task.first()].inputs[0]]);
  const auto add = [&](const Task& part) {
    const Node& node = network.graph.nodes[part.op];
    const std::string line = to_text(network.graph, part.op);
    text += concat(", ", kind(node.op), line.substr(line.find(" :")));
    if (part.residual >= 0) text += " + skip";
    if (part.activation < 0) return;
    text += " + ";
    text += is_epilogue(network, part.activation)
                ? "alpha_act"
                : row(std::get<AlphaAct>(network.graph.nodes[part.activation].op).s).name;
  };
  for (const Task& part : task.before) add(part);
  add(task);
  return text;
}

// The memory that ways to compute the same task are timed on: random values, the same for all ways.
class TimingMemory {
 public:
  explicit TimingMemory(const EngineNetwork& network)
      : network_(network), memory_{std::vector<std::byte*>(network.shapes.size(), nullptr), nullptr} {}

  // A run of the way, ready to be timed. The way's weights and scratch memory live as long as the result.
  TimedRun prepare(const Way& way) {
    const std::vector<EngineStep> steps = way.make();
    std::size_t scratch_size = 0;
    for (const EngineStep& step : steps) {
      for (const int input : network_.graph.nodes[step.task.first()].inputs) ensure(input);
      ensure(step.task.residual), ensure(step.task.result), ensure(step.task.op);
      scratch_size = std::max(scratch_size, step.scratch);
    }
    const auto scratch = std::make_shared<AlignedVector<std::byte>>(scratch_size);
    memory_.scratch = scratch->data();
    std::vector<Work> works;
    for (const EngineStep& step : steps) works.push_back(step.bind(memory_));
    return [scratch, works = std::move(works)] {
      return seconds_of([&] {
        for (const Work& work : works) work();
      });
    };
  }

  // The input of the task. Valid once a way is prepared.
  std::span<const std::byte> input() const { return buffers_.front(); }

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
  Memory memory_;
  std::vector<AlignedVector<std::byte>> buffers_;
  Rng rng_{1};
};

// By rule the first of the ways. With `tuning` the one that is known to be fastest, or found to be so by timing. Before
// each run, as in the network, the weights and values of all its other steps have been in the caches, and the task's
// input last.
std::vector<EngineStep> choose(const EngineNetwork& network, const std::vector<Way>& ways, const std::string& task,
                               Tuning* tuning) {
  if (tuning == nullptr) return ways.front().make();
  TimingMemory memory(network);
  std::vector<TuneCandidate> candidates;
  for (const Way& way : ways) candidates.push_back({way.name, [&] { return memory.prepare(way); }});
  const auto before_run = [&] {
    tuning->others.resize(tuning->run_bytes);
    bring_to_caches(tuning->others);
    bring_to_caches(memory.input());
  };
  return ways[tuning->tuner.choose(task, candidates, {.before_run = before_run})].make();
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
