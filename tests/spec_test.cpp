// Tests of ops/spec: shapes, parameters, costs and initial weights of graphs, and which graphs are refused.
#include "ops/spec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/error_of.hpp"

using namespace pleat;

namespace {

// A graph with every kind of op; two activations share an alpha, two stand alone.
const std::string kEverything = R"(input x : channels=3 height=9 width=8
conv2d stem <- x : out=8 kernel=3 stride=2 pad=1 groups=1 bias=1
batch_norm stem.bn <- stem
alpha_act stem.act <- stem.bn : s=relu
conv2d expand <- stem.act : out=8 kernel=1 groups=2
alpha_act expand.act <- expand : s=relu6 alpha=block.alpha
depthwise_conv2d spatial <- expand.act : kernel=3 pad=0,1,2,1 bias=1
alpha_act spatial.act <- spatial : s=relu6 alpha=block.alpha
add sum <- spatial.act stem.act
shortcut skip <- sum : out=12 stride=2
alpha_act skip.act <- skip : s=relu alpha=skip.alpha
max_pool2d max <- skip.act : kernel=2 stride=1 pad=1
avg_pool2d avg <- max : kernel=2 stride=1
global_avg_pool mean <- avg
flatten flat <- avg
linear head <- flat : out=10 bias=0
linear side <- mean : out=10
add logits <- head side
)";

std::string shape_error(const std::string& ops) {
  return error_of<std::invalid_argument>(
      [&] { infer_shapes(parse_graph("input x : channels=4 height=6 width=5\n" + ops)); });
}

}  // namespace

TEST_CASE("shape inference of every op") {
  const Graph graph = parse_graph(kEverything);
  const auto shapes = infer_shapes(graph, 2);
  const auto shape_of = [&](const char* name) { return shapes[find(graph, name)]; };
  CHECK(shape_of("x") == Nhwc{2, 9, 8, 3});
  CHECK(shape_of("stem") == Nhwc{2, 5, 4, 8});
  CHECK(shape_of("stem.act") == Nhwc{2, 5, 4, 8});
  CHECK(shape_of("expand") == Nhwc{2, 5, 4, 8});
  CHECK(shape_of("spatial") == Nhwc{2, 5, 4, 8});
  CHECK(shape_of("skip") == Nhwc{2, 3, 2, 12});
  CHECK(shape_of("max") == Nhwc{2, 4, 3, 12});
  CHECK(shape_of("avg") == Nhwc{2, 3, 2, 12});
  CHECK(shape_of("mean") == Nhwc{2, 1, 1, 12});
  CHECK(shape_of("flat") == Nhwc{2, 1, 1, 72});
  CHECK(shape_of("logits") == Nhwc{2, 1, 1, 10});
}

TEST_CASE("parameters have names and shapes, and each alpha is listed once") {
  const Graph graph = parse_graph(kEverything);
  std::string text;
  for (const Parameter& p : parameters(graph)) text += p.name + ' ' + to_string(p.shape) + '\n';
  CHECK(text == R"(stem.weight [8, 3, 3, 3]
stem.bias [8]
stem.bn.weight [8]
stem.bn.bias [8]
stem.bn.running_mean [8]
stem.bn.running_var [8]
expand.weight [8, 4, 1, 1]
block.alpha [1]
spatial.weight [8, 1, 3, 3]
spatial.bias [8]
skip.alpha [1]
head.weight [10, 72]
side.weight [10, 12]
side.bias [10]
)");
  CHECK(parameter_count(graph) == 216 + 8 + 16 + 32 + 72 + 8 + 720 + 120 + 10);
}

TEST_CASE("MACs and depth") {
  const Graph graph = parse_graph(kEverything);
  // stem 5*4*8 outputs of 27, expand 5*4*8 of 4, spatial 5*4*8 of 9, head 10 of 72, side 10 of 12.
  CHECK(macs(graph) == 160 * (27 + 4 + 9) + 720 + 120);
  CHECK(conv_count(graph) == 3);
  CHECK(depth(graph) == 4);  // stem, the block's two that go together, skip; and one
}

TEST_CASE("a border correction costs only its ring, and has a weight for each input that its positions read") {
  const Graph graph = parse_graph(
      "input x : channels=4 height=9 width=8\nborder_conv2d b <- x : out=6 kernel=5 pad=2 groups=2 "
      "ring=1,1,1,2 reach=1,1,1,2\n");
  CHECK(infer_shapes(graph)[1] == Nhwc{1, 9, 8, 6});
  const auto all = parameters(graph);
  REQUIRE(all.size() == 2);
  // Taps: above and below 1 row of 5, left 1 column of 5, right two positions with 2 columns of 5; corners 1 of 1 on
  // the left, two of 2 on the right.
  CHECK(to_string(all[0].shape) == to_string(std::vector<int64_t>{2 * 5 + 5 + 2 * 10 + 2 * (1 + 2 * 2), 2, 6}));
  CHECK(to_string(all[1].shape) == "[3, 4, 6]");
  CHECK(macs(graph) == (2 * 8 * 5 + 9 * 5 + 2 * 9 * 10 + 2 * (1 + 2 * 2)) * 2 * 6);
  CHECK(conv_count(graph) == 0);
}

TEST_CASE("initial weights are He-normal and depend only on seed and name; other parameters are constant") {
  const Graph graph = parse_graph(
      "input x : channels=32 height=4 width=4\n"
      "conv2d conv <- x : out=64 kernel=3 bias=1\n"
      "batch_norm bn <- conv\n"
      "alpha_act act <- bn : s=relu alpha=act.alpha\n"
      "flatten flat <- act\n"
      "linear head <- flat : out=100\n");
  const Tensors tensors = initial_tensors(graph, 1);
  verify(graph, tensors);
  double square = 0;
  const auto& weight = tensors.at("conv.weight").values;  // 18432 values
  for (float value : weight) square += value * value;
  CHECK(std::sqrt(square / static_cast<double>(weight.size())) ==
        doctest::Approx(std::sqrt(2.0 / (64 * 9))).epsilon(0.02));
  const auto [least, most] = std::ranges::minmax_element(tensors.at("head.weight").values);  // 25600 in +-1/16
  CHECK(*least >= -1.0f / 16);
  CHECK(*most <= 1.0f / 16);
  CHECK(*most - *least > 0.999f / 8);
  const auto all = [&](const char* name, float value) {
    return std::ranges::all_of(tensors.at(name).values, [&](float v) { return v == value; });
  };
  for (const char* name : {"conv.bias", "bn.bias", "bn.running_mean", "act.alpha", "head.bias"}) CHECK(all(name, 0));
  for (const char* name : {"bn.weight", "bn.running_var"}) CHECK(all(name, 1));

  CHECK(initial_tensors(graph, 1) == tensors);
  CHECK(initial_tensors(graph, 2).at("conv.weight") != tensors.at("conv.weight"));
  Graph plain = graph;  // without its alpha
  std::get<AlphaAct>(plain.nodes[find(plain, "act")].op).alpha.clear();
  CHECK(initial_tensors(plain, 1).at("head.weight") == tensors.at("head.weight"));
}

TEST_CASE("graphs whose shapes do not fit are refused with the name of the node") {
  CHECK(shape_error("conv2d c <- x : out=6 groups=4") ==
        "conv2d 'c': 4 groups, expected a divisor of 4 input and 6 output channels");
  CHECK(shape_error("conv2d c <- x : out=6 kernel=6") == "conv2d 'c': window 6x6 is larger than its padded input 6x5");
  CHECK(shape_error("max_pool2d p <- x : kernel=2 pad=0,0,2,0") ==
        "max_pool2d 'p': pad is 2, expected less than the kernel, 2: a window must not see padding alone");
  CHECK(shape_error("linear l <- x : out=2") ==
        "linear 'l': input is [1, 6, 5, 4], expected one pixel: flatten or pool first");
  CHECK(shape_error("conv2d c <- x : out=4 stride=2\nadd a <- c x") ==
        "add 'a': shapes [1, 3, 3, 4] and [1, 6, 5, 4] differ");
  CHECK(shape_error("shortcut s <- x : out=3") == "shortcut 's': out is 3, expected at least the 4 input channels");
  CHECK(shape_error("shortcut s <- x : out=4 pad=-3") ==
        "shortcut 's': window 1x1 is larger than its padded input 0x-1");
  CHECK(shape_error("border_conv2d b <- x : out=4 groups=3") ==
        "border_conv2d 'b': 3 groups, expected a divisor of 4 input and 4 output channels");
  CHECK(shape_error("border_conv2d b <- x : out=4 kernel=3 pad=1 ring=3,0,4,0") ==
        "border_conv2d 'b': ring covers 7, expected at most 6, the output's rows");
  CHECK(shape_error("border_conv2d b <- x : out=4 kernel=3 pad=1 ring=1 reach=0,6,0,0") ==
        "border_conv2d 'b': reach covers 6, expected at most 5, the input's columns");
  CHECK(shape_error("border_conv2d b <- x : out=4 kernel=1048576 pad=524288") ==
        "border_conv2d 'b': kernel is 1048576, expected 1 to 1024");
  CHECK(shape_error("conv2d c <- x : out=4 stride=65536") == "conv2d 'c': stride is 65536, expected 1 to 1024");
  CHECK(shape_error("avg_pool2d p <- x : kernel=1024 stride=1 pad=1023") ==
        "avg_pool2d 'p': takes 4.43679e+12 multiplications a picture, expected at most 2.74878e+11");
  CHECK(holds(shape_error("conv2d c <- x : out=1024 pad=200\nconv2d d <- c : out=1024\nconv2d e <- d : out=1024"),
              "conv2d 'd': activations up to here of "));
  CHECK(shape_error("conv2d c <- x : out=1048576 pad=100").find("an output of") != std::string::npos);
  CHECK(error_of<std::invalid_argument>([] {
          parameters(parse_graph("input x : channels=65536 height=1 width=1\nconv2d c <- x : out=65536"));
        }).find("a parameter of") != std::string::npos);
  CHECK(error_of<std::invalid_argument>([] {
          parameters(
              parse_graph("input x : channels=1 height=1 width=1\nconv2d c <- x : out=1\n"
                          "alpha_act a <- c : alpha=c.weight"));
        }) == "alpha_act 'a': parameter 'c.weight' belongs to another node; only alphas are shared");
}

TEST_CASE("verify requires every parameter with its shape, and no others") {
  const Graph graph = parse_graph(kEverything);
  const Tensors good = initial_tensors(graph, 1);
  const auto error = [&](const Tensors& tensors) {
    return error_of<std::invalid_argument>([&] { verify(graph, tensors); });
  };
  CHECK(error(good) == "no error");
  Tensors bad = good;
  bad.erase("stem.bn.bias");
  CHECK(error(bad) == "parameter 'stem.bn.bias' is missing, expected [8]");
  bad = good;
  bad["stem.weight"] = Tensor({8, 3, 3, 1});
  CHECK(error(bad) == "parameter 'stem.weight' has shape [8, 3, 3, 1], expected [8, 3, 3, 3]");
  bad = good;
  bad["stem.weight"].values.pop_back();
  CHECK(error(bad) == "parameter 'stem.weight' has 215 values, expected 216");
  bad = good;
  bad["expand.bias"] = Tensor({8});
  CHECK(error(bad) == "parameter 'expand.bias' [8] is left over: no node reads it");
}
