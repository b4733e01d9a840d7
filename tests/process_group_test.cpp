// Several ranks in one process, as threads that hand each other messages.
#include "core/process_group.hpp"

#include <doctest/doctest.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "core/rng.hpp"
#include "core/simd/bf16.hpp"
#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "models/models.hpp"
#include "ops/exec/exec.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/spec.hpp"
#include "tools/train/gradient_exchange.hpp"
#include "tools/train/recipe.hpp"

namespace pleat::testing {
namespace {

// Where messages wait for their receivers.
class Post {
 public:
  using Address = std::tuple<int, int, int>;  // from, to, channel
  void send(const Address& address, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    waiting_[address].emplace_back(bytes.begin(), bytes.end());
    arrived_.notify_all();
  }
  void receive(const Address& address, std::span<std::byte> bytes) {
    std::unique_lock lock(mutex_);
    auto& queue = waiting_[address];
    arrived_.wait(lock, [&] { return !queue.empty(); });
    REQUIRE(queue.front().size() == bytes.size());
    std::ranges::copy(queue.front(), bytes.begin());
    queue.pop_front();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<Address, std::deque<std::vector<std::byte>>> waiting_;
};

class MemoryTransport : public Transport {
 public:
  MemoryTransport(Post& post, int rank, int size) : post_(post), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void exchange(std::span<const Outgoing> outgoing, std::span<const Incoming> incoming, int channel) override {
    if (broken) throw std::runtime_error("the link is broken");
    for (const Outgoing& message : outgoing) post_.send({rank_, message.to, channel}, message.bytes);
    for (const Incoming& message : incoming) post_.receive({message.from, rank_, channel}, message.bytes);
  }
  void leave() override {}
  [[noreturn]] void abort(int) override { std::abort(); }
  bool broken = false;

 private:
  Post& post_;
  const int rank_, size_;
};

// Runs body(group) for each of `size` ranks at once.
void run_ranks(int size, const std::function<void(ProcessGroup&)>& body) {
  Post post;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      MemoryTransport transport(post, rank, size);
      ProcessGroup group(transport);
      body(group);
    });
  for (std::thread& thread : threads) thread.join();
}

// What a rank brings; not to be added exactly, so that the order of additions shows.
template <class T>
std::vector<T> values_of(int rank, std::size_t count) {
  Rng rng(5, static_cast<uint64_t>(rank));
  std::vector<T> values(count);
  for (T& v : values) v = static_cast<T>(rng.normal());
  return values;
}

TEST_CASE("ranks add up in their order") {
  for (const int size : {1, 2, 3, 4})
    for (const std::size_t count : {0, 1, 2, 5, 1000}) {
      std::vector<float> expected(count);
      std::vector<double> expected_double(count);
      for (int rank = 0; rank < size; ++rank)
        for (std::size_t i = 0; i < count; ++i) {
          expected[i] += values_of<float>(rank, count)[i];
          expected_double[i] += values_of<double>(rank, count)[i];
        }
      run_ranks(size, [&](ProcessGroup& group) {
        std::vector<float> values = values_of<float>(group.rank(), count);
        std::vector<double> doubles = values_of<double>(group.rank(), count);
        group.sum(values);
        group.sum(doubles);
        CHECK(values == expected);
        CHECK(doubles == expected_double);
      });
    }
}

TEST_CASE("sums that travel as bf16 are the same on all ranks") {
  constexpr int kRanks = 3;
  constexpr std::size_t kCount = 100;
  std::vector<std::vector<float>> results(kRanks);
  run_ranks(kRanks, [&](ProcessGroup& group) {
    std::vector<float> values = values_of<float>(group.rank(), kCount);
    group.sum(values, Wire::bf16);
    results[group.rank()] = values;
  });
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
  for (std::size_t i = 0; i < kCount; ++i) {
    double exact = 0, size = 0;
    for (int rank = 0; rank < kRanks; ++rank) {
      exact += values_of<float>(rank, kCount)[i];
      size += std::abs(values_of<float>(rank, kCount)[i]);
    }
    CHECK(results[0][i] == static_cast<float>(Bf16(results[0][i])));
    CHECK(std::abs(results[0][i] - exact) <= size / 128);  // each of them rounded by at most 1/256, twice
  }
}

TEST_CASE("ranks gather and broadcast") {
  run_ranks(3, [](ProcessGroup& group) {
    const double mine[] = {static_cast<double>(group.rank()), 7.0};
    std::vector<double> all(6);
    group.gather(all, mine);
    CHECK(all == std::vector<double>{0, 7, 1, 7, 2, 7});
    std::string text = group.is_first() ? "from the first" : "something else";
    group.broadcast(text);
    CHECK(text == "from the first");
    std::string nothing = group.is_first() ? "" : "x";
    group.broadcast(nothing);
    CHECK(nothing.empty());
  });
}

TEST_CASE("gradients become their mean while the backward pass goes on") {
  constexpr int kRanks = 2;
  const std::vector<std::size_t> sizes = {300000, 5, 400000, 1, 100};  // the first and the third fill a bucket each
  run_ranks(kRanks, [&](ProcessGroup& group) {
    std::vector<std::vector<float>> values(sizes.size());
    std::vector<ExchangedValues> exchanged;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      values[i].resize(sizes[i]);
      exchanged.push_back({values[i], i == 4 ? -1 : static_cast<int>(4 - i)});
    }
    GradientExchange exchange(group, exchanged, Wire::f32);
    for (int step = 0; step < 3; ++step) {
      exchange.begin();
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        std::ranges::fill(values[i], static_cast<float>(10 * step + group.rank() + static_cast<int>(i)));
        exchange.finished(static_cast<int>(4 - i));
      }
      exchange.end();
      for (std::size_t i = 0; i < sizes.size(); ++i)
        for (const float value : values[i])
          if (value != static_cast<float>(10 * step + static_cast<int>(i)) + 0.5f) FAIL("value " << i);
    }
  });
}

TEST_CASE("a broken link ends the step with an error") {
  Post post;
  MemoryTransport transport(post, 0, 2);
  transport.broken = true;
  std::vector<float> values(3);
  GradientExchange exchange(ProcessGroup(transport), {{values, 0}}, Wire::f32);
  exchange.begin();
  exchange.finished(0);
  CHECK_THROWS_WITH_AS(exchange.end(), "the link is broken", std::runtime_error);
}

Dataset small_set(int64_t images) {
  Dataset data;
  data.name = "small";
  data.height = data.width = 2;
  data.channels = 1;
  data.classes.resize(300);
  for (int64_t i = 0; i < images; ++i) {
    data.labels.push_back(static_cast<int32_t>(i));
    for (int pixel = 0; pixel < 4; ++pixel) data.images.push_back(static_cast<uint8_t>(i));
  }
  return data;
}

std::vector<std::vector<int32_t>> batches_of(const Dataset& data, LoaderOptions options) {
  const PictureFormat format{.height = 2, .width = 2, .channels = 1, .mean = {0}, .std = {1}};
  Loader loader(data, format, options);
  loader.start_epoch(3);
  std::vector<std::vector<int32_t>> batches;
  while (const Batch* batch = loader.next()) batches.emplace_back(batch->labels.begin(), batch->labels.end());
  return batches;
}

TEST_CASE("shards of a loader together are the whole batches, without overlap") {
  const Dataset data = small_set(103);
  for (const bool training : {true, false}) {
    const LoaderOptions whole{.batch = 12, .shuffle = training, .drop_last = training, .seed = 9};
    std::vector<std::vector<int32_t>> expected = batches_of(data, whole), together(expected.size());
    for (int shard = 0; shard < 3; ++shard) {
      LoaderOptions part = whole;
      part.batch = 4;
      part.shard = shard;
      part.shards = 3;
      const auto batches = batches_of(data, part);
      CHECK(batches.size() == expected.size());
      for (std::size_t b = 0; b < batches.size(); ++b)
        together[b].insert(together[b].end(), batches[b].begin(), batches[b].end());
    }
    CHECK(together == expected);
  }
}

// Gradients of a small network with batch norms for a batch, by one rank or by several with synchronised norms.
Tensors gradients(const Graph& graph, const std::vector<float>& images, const std::vector<int32_t>& labels, int ranks) {
  const int64_t batch = std::ssize(labels) / ranks, image = std::ssize(images) / std::ssize(labels);
  Tensors result;
  run_ranks(ranks, [&](ProcessGroup& group) {
    Tensors tensors = initial_tensors(graph, 3);
    Exec exec(graph, tensors, {.batch = batch, .training = true, .norm_ranks = ranks > 1 ? &group : nullptr});
    const int64_t first = group.rank() * batch;
    exec.run(std::span(images).subspan(first * image, batch * image));
    const auto mine = std::span(labels).subspan(first, batch);
    cross_entropy_backward<float>(exec.output_gradient(), exec.output(), mine, 10, 0);
    std::vector<ExchangedValues> values;
    for (const Parameter& p : parameters(graph))
      if (trainable(p.role)) values.push_back({exec.gradient(p.name), exec.gradient_group(p)});
    GradientExchange exchange(group, values, Wire::f32);
    exchange.begin();
    exec.backward([&](int done) { exchange.finished(done); });
    exchange.end();
    if (group.is_first()) result = exec.gradients();
  });
  return result;
}

TEST_CASE("with synchronised norms ranks compute the gradients of the whole batch") {
  Graph graph = make_model("resnet20", {.channels = 3, .height = 32, .width = 32}, 10);
  // Without kinks, beside which rounding alone can change a gradient by as much as it is.
  for (Node& node : graph.nodes)
    if (auto* act = std::get_if<AlphaAct>(&node.op)) act->s = Nonlinearity::silu;
  constexpr int kBatch = 8;
  Rng rng(4);
  std::vector<float> images(kBatch * 32 * 32 * 3);
  for (float& pixel : images) pixel = static_cast<float>(rng.normal());
  std::vector<int32_t> labels(kBatch);
  for (int32_t& label : labels) label = static_cast<int32_t>(rng.below(10));
  const Tensors alone = gradients(graph, images, labels, 1);
  double range = 0;
  for (const auto& [name, expected] : alone)
    for (const float value : expected.values) range = std::max<double>(range, std::abs(value));
  for (const int ranks : {2, 4}) {
    const Tensors shared = gradients(graph, images, labels, ranks);
    REQUIRE(shared.size() == alone.size());
    for (const auto& [name, expected] : alone) {
      CAPTURE(name);
      double difference = 0;
      for (std::size_t i = 0; i < expected.values.size(); ++i)
        difference = std::max<double>(difference, std::abs(expected.values[i] - shared.at(name).values[i]));
      CHECK(difference <= 1e-5 * range);
    }
  }
}

TEST_CASE("a recipe comes back from its JSON") {
  Recipe recipe = usual_recipe("prefold");
  recipe.model = "resnet20";
  recipe.data = "cifar10";
  recipe.algorithms = "d44";
  recipe.ranks = 3;
  recipe.fading = {"a", "b"};
  recipe.fade = 1.5;
  recipe.network.width = 0.5;
  recipe.teacher = "base";
  recipe.schedule = Schedule::Kind::rex;
  recipe.norm_weight_decay = 0;
  recipe.sync_norms = true;
  CHECK(to_json(recipe_from_json(to_json(recipe))) == to_json(recipe));
  const Recipe train = usual_recipe("train");
  CHECK(to_json(recipe_from_json(to_json(train))) == to_json(train));
}

}  // namespace
}  // namespace pleat::testing
