// Random numbers, the arena, tensors and the graph's text.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/arena.hpp"
#include "core/check.hpp"
#include "core/graph.hpp"
#include "core/rng.hpp"
#include "core/tensor.hpp"
#include "tests/error_of.hpp"

using namespace pleat;

namespace {

// One node of each kind, with attributes away from their defaults.
Graph every_op() {
  Graph g;
  int x = g.add("input", Input{3, 33, 31}, {});
  x = g.add("conv", Conv2d{12, 3, 2, {0, 1, 2, 3}, 3, true}, {x});
  x = g.add("bn", BatchNorm{1e-3, 0.01}, {x});
  x = g.add("act", AlphaAct{Nonlinearity::relu6, "act.alpha"}, {x});
  const int wide = g.add("block.0/dw", DepthwiseConv2d{3, 1, Padding::uniform(1), true}, {x});
  const int skip = g.add("skip", Shortcut{12, 1, {-1, 0, 1, 0}}, {x});
  const int ring = g.add("block.0/border", BorderConv2d{12, 3, 1, {-1, 0, 3, 2}, 6, {1, 0, 0, 2}, {2, 0, 0, 1}}, {x});
  x = g.add("sum", Add{}, {wide, skip});
  x = g.add("corrected", Add{}, {x, ring});
  x = g.add("max", MaxPool2d{3, 2, Padding::uniform(1)}, {x});
  x = g.add("avg", AvgPool2d{2, 1, {0, 0, 1, 1}}, {x});
  const int mean = g.add("mean", GlobalAvgPool{}, {x});
  const int flat = g.add("flat", Flatten{}, {mean});
  g.add("fc", Linear{10, false}, {flat});
  return g;
}

}  // namespace

TEST_CASE("philox: the known answers of Random123") {
  using Words = std::array<uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("rng: seed and stream alone name the sequence, and every bit of both counts") {
  const auto first = [](uint64_t seed, uint64_t stream) {
    Rng rng(seed, stream);
    std::vector<uint32_t> words(9);  // more than two blocks
    for (uint32_t& word : words) word = rng.bits();
    return words;
  };
  CHECK(first(1, 2) == first(1, 2));
  for (int bit = 0; bit < 64; ++bit) {
    CHECK(first(uint64_t{1} << bit, 0) != first(0, 0));
    CHECK(first(0, uint64_t{1} << bit) != first(0, 0));
  }
  const auto words = first(0, 0);
  CHECK(words[0] == 0x6627e8d5);
  CHECK(words[3] == 0x9b00dbd8);
  CHECK(words[4] == philox({1, 0, 0, 0}, {0, 0})[0]);
}

TEST_CASE("rng: below has no bias, even for ranges that do not divide 2^32") {
  CHECK(Rng(1).below(1) == 0);
  Rng rng(7);
  std::array<int, 6> counts{};
  for (int i = 0; i < 60000; ++i) ++counts.at(rng.below(6));
  for (int count : counts) CHECK(std::abs(count - 10000) < 5 * 100);  // five sigma

  // Without rejection the lower third of this range (if taken modulo) or every third number (if scaled) would come up
  // twice as often as the others.
  const uint32_t n = 3u << 30;
  int low = 0, third = 0;
  for (int i = 0; i < 30000; ++i) {
    const uint32_t value = rng.below(n);
    REQUIRE(value < n);
    low += value < n / 3;
    third += value % 3 == 0;
  }
  CHECK(std::abs(low - 10000) < 5 * 82);
  CHECK(std::abs(third - 10000) < 5 * 82);
}

TEST_CASE("rng: moments of the uniform and normal numbers") {
  Rng rng(3, 4);
  constexpr int kDraws = 200000;
  double mean = 0, square = 0, fourth = 0, uniform_mean = 0, correlation = 0, last = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal(), u = rng.uniform();
    REQUIRE(std::isfinite(x));
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    mean += x / kDraws, square += x * x / kDraws, fourth += x * x * x * x / kDraws, uniform_mean += u / kDraws;
    correlation += x * last / kDraws, last = x;
  }
  const double sigma = 1 / std::sqrt(double{kDraws});  // of a mean of numbers of variance 1
  CHECK(std::abs(mean) < 5 * sigma);
  CHECK(std::abs(square - 1) < 5 * std::sqrt(2) * sigma);
  CHECK(std::abs(fourth - 3) < 5 * std::sqrt(96) * sigma);
  CHECK(std::abs(correlation) < 5 * sigma);
  CHECK(std::abs(uniform_mean - 0.5) < 5 * std::sqrt(1.0 / 12) * sigma);
}

TEST_CASE("permutation: each number once, each order as often") {
  CHECK(permutation(0, Rng(1)).empty());
  CHECK(permutation(1, Rng(1)) == std::vector<uint32_t>{0});
  auto order = permutation(1000, Rng(1));
  CHECK(order == permutation(1000, Rng(1)));
  CHECK(order != permutation(1000, Rng(1, 1)));
  std::vector<uint32_t> sorted(1000);
  std::iota(sorted.begin(), sorted.end(), 0u);
  CHECK(order != sorted);
  std::sort(order.begin(), order.end());
  CHECK(order == sorted);

  std::array<int, 27> counts{};
  for (uint64_t stream = 0; stream < 6000; ++stream) {
    const auto p = permutation(3, Rng(5, stream));
    ++counts[9 * p[0] + 3 * p[1] + p[2]];
  }
  int seen = 0;
  for (int count : counts)
    if (count > 0) {
      ++seen;
      CHECK(std::abs(count - 1000) < 5 * 29);
    }
  CHECK(seen == 6);
}

TEST_CASE("arena: buffers alive together never share bytes") {
  Rng rng(11);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<Lifetime> buffers(rng.below(30));
    const int steps = 1 + static_cast<int>(rng.below(20));
    for (Lifetime& b : buffers) {
      b.size = rng.below(200);
      b.first = static_cast<int>(rng.below(steps));
      b.last = b.first + static_cast<int>(rng.below(steps - b.first));
    }
    const ArenaPlan plan = plan_arena(buffers);
    REQUIRE(plan.offsets.size() == buffers.size());
    int64_t end = 0, everything = 0;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const Lifetime& a = buffers[i];
      CHECK(plan.offsets[i] >= 0);
      CHECK(plan.offsets[i] % 16 == 0);
      end = std::max(end, plan.offsets[i] + a.size);
      everything += (a.size + 15) / 16 * 16;
      for (std::size_t j = 0; j < i; ++j) {
        const Lifetime& b = buffers[j];
        const bool together = a.first <= b.last && b.first <= a.last;
        const bool apart = plan.offsets[i] + a.size <= plan.offsets[j] || plan.offsets[j] + b.size <= plan.offsets[i];
        CHECK((!together || apart));
      }
    }
    CHECK(plan.total >= end);
    CHECK(plan.total <= everything);
  }
}

TEST_CASE("arena: buffers that never meet share bytes") {
  // A chain, each layer reading the one before: two buffers' worth of memory for any length.
  std::vector<Lifetime> chain;
  for (int i = 0; i < 50; ++i) chain.push_back({160, i, i + 1});
  CHECK(plan_arena(chain).total == 320);
  // A small one fits into the gap between two large ones.
  CHECK(plan_arena({{64, 0, 1}, {32, 1, 2}, {32, 2, 3}, {32, 0, 0}}).total == 96);
  CHECK(plan_arena({}).total == 0);
}

TEST_CASE("tensor: elements, alignment, text") {
  const Tensor tensor({2, 3, 1}, 1.5f);
  CHECK(tensor.values.size() == 6);
  CHECK(tensor.values[5] == 1.5f);
  CHECK(reinterpret_cast<std::uintptr_t>(tensor.values.data()) % 64 == 0);
  CHECK(num_elements({}) == 1);
  CHECK(num_elements({3, 0}) == 0);
  CHECK(to_string(tensor.shape) == "[2, 3, 1]");
  CHECK(to_string(Nhwc{1, 2, 3, 4}) == "[1, 2, 3, 4]");
  CHECK(to_string(std::vector<int64_t>{}) == "[]");
}

TEST_CASE("graph: text round trip of every op") {
  const Graph graph = every_op();
  verify_structure(graph);
  const std::string text = to_text(graph);
  CHECK(parse_graph(text) == graph);
  CHECK(to_text(parse_graph(text)) == text);
  CHECK(to_text(graph, 1) == "conv2d conv <- input : out=12 kernel=3 stride=2 pad=0,1,2,3 groups=3 bias=1");
  CHECK(to_text(graph, 3) == "alpha_act act <- bn : s=relu6 alpha=act.alpha");
  CHECK(to_text(graph, 6) ==
        "border_conv2d block.0/border <- act : out=12 kernel=3 stride=1 pad=-1,0,3,2 groups=6 ring=1,0,0,2 "
        "reach=2,0,0,1");
  CHECK(to_text(graph, 7) == "add sum <- block.0/dw skip");
  // Attributes left out keep their defaults; an empty one is a value.
  const Graph defaults = parse_graph("input x : channels=1 height=2 width=2\nalpha_act a <- x : alpha=\n");
  CHECK(defaults.nodes[1].op == Op{AlphaAct{}});
  // A double reads back identically, whatever its digits.
  Graph numbers;
  numbers.add("x", Input{1, 1, 1}, {});
  Rng rng(1);
  for (int i = 0; i < 100; ++i) numbers.add(concat("n", i), BatchNorm{rng.uniform() / 3, 1e-300}, {i});
  CHECK(parse_graph(to_text(numbers)) == numbers);
}

TEST_CASE("graph: find and consumers") {
  const Graph graph = every_op();
  CHECK(find(graph, "sum") == 7);
  CHECK(find(graph, "none") == -1);
  const auto readers = consumers(graph);
  CHECK(readers[3] == std::vector<int>{4, 5, 6});
  CHECK(readers[graph.output()].empty());
  Graph twice;
  twice.add("x", Input{1, 1, 1}, {});
  twice.add("y", Add{}, {0, 0});
  CHECK(consumers(twice)[0] == std::vector<int>{1, 1});
}

TEST_CASE("graph: every parse error names the line and what is wrong") {
  const std::string in = "input x : channels=3 height=4 width=4\n";
  struct Case {
    std::string text, message;
  };
  const std::vector<Case> cases = {
      {"", "graph: the first node must be the input"},
      {"\n", "graph line 1: unknown op ''"},
      {"conv3d y\n", "graph line 1: unknown op 'conv3d', did you mean 'conv2d'?"},
      {"input\n", "graph line 1: the node's name is missing"},
      {"input x channels=3\n", "graph line 1: got 'channels=3', expected '<-' or ':'"},
      {"add y\n", "graph: the first node must be the input"},
      {in + "flatten y <- z\n", "graph line 2: 'y' reads 'z', which no earlier line defines"},
      {in + "flatten y <- y\n", "graph line 2: 'y' reads 'y', which no earlier line defines"},
      {in + "flatten x <- x\n", "graph line 2: a second node is called 'x'"},
      {in + "flatten y <- x : what\n", "graph line 2: got 'what', expected name=value"},
      {in + "flatten y <- x : k=1\n", "graph line 2: flatten has no attribute 'k'"},
      {in + "linear y <- x : out=1 out=1\n", "graph line 2: 'out' stands twice"},
      {in + "linear y <- x : out=\n", "graph line 2: linear 'y': bad value 'out='"},
      {in + "linear y <- x : out=1.5\n", "bad value 'out=1.5'"},
      {in + "linear y <- x : out=99999999999\n", "bad value 'out=99999999999'"},
      {in + "linear y <- x : out=1 bias=2\n", "bad value 'bias=2'"},
      {in + "batch_norm y <- x : eps=1e-5x\n", "bad value 'eps=1e-5x'"},
      {in + "batch_norm y <- x : eps=1e999\n", "bad value 'eps=1e999'"},
      {in + "batch_norm y <- x : eps=nan\n", "batch_norm 'y': eps is nan, expected 0 to 1"},
      {in + "batch_norm y <- x : momentum=-1\n", "batch_norm 'y': momentum is -1, expected 0 to 1"},
      {in + "alpha_act y <- x : s=tanh\n", "bad value 's=tanh'"},
      {in + "avg_pool2d y <- x : pad=1,2\n", "bad value 'pad=1,2'"},
      {in + "avg_pool2d y <- x : pad=1,2,3,4,5\n", "bad value 'pad=1,2,3,4,5'"},
      {in + "avg_pool2d y <- x : pad=1,2,3,4,\n", "bad value 'pad=1,2,3,4,'"},
      {in + "avg_pool2d y <- x : pad=1,\n", "bad value 'pad=1,'"},
      {in + "avg_pool2d y <- x : pad=,\n", "bad value 'pad=,'"},
      {in + "avg_pool2d y <- x : pad=-1\n", "avg_pool2d 'y': pad is -1, expected 0 to"},
      {in + "shortcut y <- x : out=3 pad=-1048577\n", "shortcut 'y': pad is -1048577"},
      {in + "border_conv2d y <- x : out=3 ring=-1\n", "border_conv2d 'y': ring is -1, expected 0 to"},
      {in + "linear y <- x : out=0\n", "linear 'y': out is 0, expected 1 to 1048576"},
      {in + "linear y <- x\n", "linear 'y': out is 0"},
      {in + "conv2d y <- x : out=4 kernel=1048577\n", "conv2d 'y': kernel is 1048577"},
      {in + "conv2d y <- x : out=4 stride=0\n", "conv2d 'y': stride is 0"},
      {in + "flatten y\n", "flatten 'y': 0 inputs, expected 1"},
      {in + "add y <- x\n", "add 'y': 1 inputs, expected 2"},
      {in + "add y <- x x x\n", "add 'y': 3 inputs, expected 2"},
      {in + "input y : channels=3 height=4 width=4\n", "graph: a second input 'y'"},
      {in + "flatten y <- x\nflatten z <- x\n", "flatten 'y': nobody reads it and it is not the output"},
      {in + "flatten a:b <- x\n", "graph: node 1 has a bad name 'a:b'"},
      {"input x : channels=3 height=4\n", "input 'x': width is 0"},
      {in + "flatten y\x1b[31m <- x\n", "graph line 2: an unprintable character"},
      {in + "flatten caf\xc3\xa9 <- x\n", "graph line 2: an unprintable character"},
      {in + "flatten y" + std::string(300, 'y') + " <- x\n", "flatten: a node's name has 301 characters"},
      {in + "flatten y <- x" + std::string(5000, ' ') + "\n", "graph line 2: 5014 characters, expected at most"},
  };
  for (const Case& c : cases) {
    const std::string message = error_of<std::invalid_argument>([&] { parse_graph(c.text); });
    INFO(c.text);
    INFO(message);
    CHECK(message.find(c.message) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 5000);
  }
}

TEST_CASE("graph: a text of a hundred thousand nodes is refused at once") {
  std::string text = "input n0 : channels=1 height=1 width=1\n";
  for (int i = 1; i < 100000; ++i) text += concat("flatten n", i, " <- n", i - 1, "\n");
  CHECK(error_of<std::invalid_argument>([&] { parse_graph(text); }) == "graph: more than 10000 lines");
}

TEST_CASE("graph: structure built by hand is verified too") {
  Graph later = every_op();
  later.nodes[1].inputs = {2};
  CHECK(error_of<std::invalid_argument>([&] { verify_structure(later); }).find("reads node 2, which is not earlier") !=
        std::string::npos);
  Graph negative = every_op();
  negative.nodes[1].inputs = {-1};
  CHECK(error_of<std::invalid_argument>([&] { verify_structure(negative); }) != "no error");
  for (const char* name : {"", "a b", "a\nb", "<-", "a:"}) {
    Graph named = every_op();
    named.nodes.back().name = name;
    INFO(name);
    CHECK(error_of<std::invalid_argument>([&] { verify_structure(named); }).find("name") != std::string::npos);
  }
  Graph blank = every_op();
  std::get<AlphaAct>(blank.nodes[3].op).alpha = "a b";
  CHECK(error_of<std::invalid_argument>([&] { verify_structure(blank); }).find("blank") != std::string::npos);
}
