// Tests of merging and of moving padding, number by number. Most networks here have small whole numbers and halves as
// weights. Merged weights are then exact in f32, and results are compared for equality without a tolerance, so a single
// wrong tap or border pixel makes a test fail.
#include "fold/merge.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/rng.hpp"
#include "fold/fold.hpp"
#include "fold/groups.hpp"
#include "fold/mask.hpp"
#include "fold/move_padding.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

using Merge = FoldOptions::Merge;
std::vector<Region> all_groups(const Graph& graph, int max_kernel = 7) {
  return find_groups(graph, within_kernel(graph, max_kernel));
}

// The result of the network for `x` on an infinite plane of zeros, which is what a merged op must compute. It is found
// by running the ordinary network on a picture with a margin so wide that padding has no effect, independently of the
// code under test.
Values run_on_plane(const Model& model, const Values& x, int stride) {
  const Nhwc from = infer_shapes(model.graph)[0], to = infer_shapes(model.graph).back();
  const int64_t margin = 24 * stride;
  Model wide = model;
  std::get<Input>(wide.graph.nodes[0].op).height += static_cast<int>(2 * margin);
  std::get<Input>(wide.graph.nodes[0].op).width += static_cast<int>(2 * margin);
  const Nhwc wide_from = infer_shapes(wide.graph)[0], wide_to = infer_shapes(wide.graph).back();
  Values canvas(wide_from.size());
  for (int64_t h = 0; h < from.h; ++h)
    std::copy_n(&x[h * from.w * from.c], from.w * from.c, &canvas[((h + margin) * wide_from.w + margin) * from.c]);
  const Values wide_y = run(wide, canvas);
  Values y;
  for (int64_t h = 0; h < to.h; ++h) {
    const auto row = wide_y.begin() + ((h + margin / stride) * wide_to.w + margin / stride) * to.c;
    y.insert(y.end(), row, row + to.w * to.c);
  }
  return y;
}

// One case: a network that is a single group, the op that it becomes, and the widths of the ring of output pixels where
// ordinary padding gives other values.
struct Composition {
  const char *name, *graph, *merged;
  Padding ring;
};

const std::vector<Composition> kCompositions = {
    {"3x3 after 3x3 is 5x5",
     "input x : channels=2 height=9 width=8\nconv2d a <- x : out=4 kernel=3 pad=1 bias=1\n"
     "conv2d b <- a : out=3 kernel=3 pad=1 bias=1\n",
     "conv2d a <- x : out=3 kernel=5 stride=1 pad=2 groups=1 bias=1", Padding::uniform(1)},
    {"3x3 after 3x3 of stride 2 is 7x7 of stride 2, padding 3",
     "input x : channels=2 height=9 width=9\nconv2d a <- x : out=3 kernel=3 stride=2 pad=1 bias=1\n"
     "conv2d b <- a : out=2 kernel=3 pad=1\n",
     "conv2d a <- x : out=2 kernel=7 stride=2 pad=3 groups=1 bias=1", Padding::uniform(1)},
    {"3x3 of stride 2 after 3x3, last window inside",
     "input x : channels=2 height=8 width=9\nconv2d a <- x : out=3 kernel=3 pad=1 bias=1\n"
     "conv2d b <- a : out=2 kernel=3 stride=2 pad=1 bias=1\n",
     "conv2d a <- x : out=2 kernel=5 stride=2 pad=2 groups=1 bias=1",
     {1, 1, 0, 1}},
    {"stride 2 twice, sizes that do not divide",
     "input x : channels=1 height=14 width=13\nconv2d a <- x : out=2 kernel=3 stride=2 pad=1 bias=1\n"
     "conv2d b <- a : out=2 kernel=3 stride=2 pad=1 bias=1\n",
     "conv2d a <- x : out=2 kernel=7 stride=4 pad=3 groups=1 bias=1",
     {1, 1, 1, 1}},
    {"asymmetric padding",
     "input x : channels=2 height=8 width=8\nconv2d a <- x : out=3 kernel=3 stride=2 pad=0,0,1,1 bias=1\n"
     "conv2d b <- a : out=2 kernel=2 pad=0,1,1,0 bias=1\n",
     "conv2d a <- x : out=2 kernel=5 stride=2 pad=0,2,3,2 groups=1 bias=1",
     {0, 1, 1, 0}},
    {"no padding after",
     "input x : channels=2 height=8 width=7\nconv2d a <- x : out=3 kernel=3 pad=1 bias=1\n"
     "conv2d b <- a : out=2 kernel=3 bias=1\n",
     "conv2d a <- x : out=2 kernel=5 stride=1 pad=1 groups=1 bias=1",
     {}},
    {"an inverted residual: 1x1, depthwise 3x3, 1x1 and the skip are a dense 3x3",
     "input x : channels=2 height=6 width=7\nconv2d a <- x : out=6 kernel=1\nbatch_norm an <- a : eps=0\n"
     "depthwise_conv2d b <- an : kernel=3 pad=1\nbatch_norm bn <- b : eps=0\nconv2d c <- bn : out=2 kernel=1\n"
     "batch_norm cn <- c : eps=0\nadd d <- cn x\n",
     "conv2d a <- x : out=2 kernel=3 stride=1 pad=1 groups=1 bias=1", Padding::uniform(1)},
    {"depthwise after depthwise stays depthwise",
     "input x : channels=3 height=7 width=7\ndepthwise_conv2d a <- x : kernel=3 stride=2 pad=1 bias=1\n"
     "batch_norm an <- a : eps=0\ndepthwise_conv2d b <- an : kernel=3 pad=1\nadd c <- b an\n",
     "depthwise_conv2d a <- x : kernel=7 stride=2 pad=3 bias=1", Padding::uniform(1)},
    {"1x1 after 1x1 stays 1x1",
     "input x : channels=3 height=4 width=5\nconv2d a <- x : out=5 kernel=1 bias=1\nconv2d b <- a : out=2 kernel=1\n",
     "conv2d a <- x : out=2 kernel=1 stride=1 pad=0 groups=1 bias=1",
     {}},
    {"groups meet in their greatest common divisor",
     "input x : channels=8 height=5 width=5\nconv2d a <- x : out=8 kernel=1 groups=4 bias=1\n"
     "conv2d b <- a : out=4 kernel=3 groups=2\n",
     "conv2d a <- x : out=4 kernel=3 stride=1 pad=0 groups=2 bias=1",
     {}},
    {"batch norm before a padded convolution",
     "input x : channels=2 height=5 width=6\nbatch_norm n <- x : eps=0\nconv2d a <- n : out=3 kernel=3 pad=1 bias=1\n",
     "conv2d a <- x : out=3 kernel=3 stride=1 pad=1 groups=1 bias=1", Padding::uniform(1)},
    {"a basic block with its identity skip",
     "input x : channels=3 height=7 width=6\nconv2d a <- x : out=3 kernel=3 pad=1\nbatch_norm an <- a : eps=0\n"
     "conv2d b <- an : out=3 kernel=3 pad=1\nbatch_norm bn <- b : eps=0\nadd c <- bn x\n",
     "conv2d a <- x : out=3 kernel=5 stride=1 pad=2 groups=1 bias=1", Padding::uniform(1)},
    {"a basic block of stride 2 with option A",
     "input x : channels=2 height=9 width=8\nconv2d a <- x : out=4 kernel=3 stride=2 pad=1\n"
     "batch_norm an <- a : eps=0\nconv2d b <- an : out=4 kernel=3 pad=1\nbatch_norm bn <- b : eps=0\n"
     "shortcut s <- x : out=4 stride=2\nadd c <- bn s\n",
     "conv2d a <- x : out=4 kernel=7 stride=2 pad=3 groups=1 bias=1", Padding::uniform(1)},
    {"a basic block of stride 2 with a projection",
     "input x : channels=2 height=8 width=9\nconv2d a <- x : out=4 kernel=3 stride=2 pad=1\n"
     "batch_norm an <- a : eps=0\nconv2d b <- an : out=4 kernel=3 pad=1\nbatch_norm bn <- b : eps=0\n"
     "conv2d p <- x : out=4 kernel=1 stride=2\nbatch_norm pn <- p : eps=0\nadd c <- bn pn\n",
     "conv2d a <- x : out=4 kernel=7 stride=2 pad=3 groups=1 bias=1", Padding::uniform(1)},
    {"average pooling is a convolution",
     "input x : channels=2 height=8 width=7\nconv2d a <- x : out=3 kernel=3 pad=1 bias=1\n"
     "avg_pool2d b <- a : kernel=2 stride=2 pad=1,0,0,1\n",
     "conv2d a <- x : out=3 kernel=4 stride=2 pad=2,1,1,2 groups=1 bias=1",
     {1, 0, 0, 1}},
    {"a skip that crops needs a crop in front",
     "input x : channels=2 height=8 width=7\nshortcut s <- x : out=2 stride=1 pad=-2\n"
     "conv2d a <- s : out=2 kernel=2 bias=1\n",
     "conv2d a <- a.pad : out=2 kernel=2 stride=1 pad=0 groups=1 bias=1",
     {}},
};

// A random network of up to `ops` linear ops, with activations between them if asked for. It has chains, residual
// blocks with identity, option A and projection skips, odd sizes, strides, groups, padding on any side and crops.
Graph random_graph(uint64_t seed, int ops, bool activations) {
  Rng rng(seed, 4);
  Graph g;
  int c = 2 * between(rng, 1, 2), convs = 0, last = g.add("x", Input{c, between(rng, 7, 12), between(rng, 7, 12)}, {});
  const auto name = [&] { return concat("n", g.nodes.size()); };
  const auto any_padding = [&](int most) {
    return Padding{between(rng, 0, most), between(rng, 0, most), between(rng, 0, most), between(rng, 0, most)};
  };
  const auto norm = [&](int x) { return g.add(name(), BatchNorm{.eps = 0}, {x}); };
  // Two 3x3 convolutions that read `x` and have `out` channels, the first with `stride`. The output has the size that a
  // 1x1 convolution would give.
  const auto branch = [&](int x, int out, int stride) {
    x = norm(g.add(name(), Conv2d{out, 3, stride, Padding::uniform(1), 1, false}, {x}));
    if (activations && between(rng, 0, 3) == 0) x = g.add(name(), AlphaAct{.alpha = name()}, {x});
    return norm(g.add(name(), Conv2d{out, 3, 1, Padding::uniform(1), between(rng, 1, 2), true}, {x}));
  };
  for (int i = 0; i < ops && convs < 4; ++i) {
    const Nhwc shape = infer_shapes(g).back();
    if (std::min(shape.h, shape.w) < 4) break;
    const int stride = between(rng, 1, 2), choice = between(rng, 0, 8);
    convs += choice < 3 ? 1 : choice < 6 ? 2 : 0;
    if (choice == 0) {
      const int out = 2 * between(rng, 1, 2);
      last = g.add(name(), Conv2d{out, between(rng, 1, 3), stride, any_padding(2), between(rng, 1, 2), true}, {last});
    } else if (choice <= 2) {
      last = g.add(name(), DepthwiseConv2d{between(rng, 1, 3), stride, any_padding(2), true}, {last});
    } else if (choice == 3) {
      last = g.add(name(), Add{}, {branch(last, static_cast<int>(shape.c), 1), last});
    } else if (choice == 4) {
      const int out = static_cast<int>(shape.c) + between(rng, 0, 2) / 2 * 2;
      const int skip = g.add(name(), Shortcut{out, stride, {}}, {last});
      last = g.add(name(), Add{}, {branch(last, out, stride), skip});
    } else if (choice == 5) {
      const int skip = norm(g.add(name(), Conv2d{4, 1, stride, {}, 1, false}, {last}));
      last = g.add(name(), Add{}, {skip, branch(last, 4, stride)});
    } else if (choice == 6) {
      last = norm(last);
    } else if (choice == 7) {
      last = g.add(name(), AvgPool2d{2, stride, any_padding(1)}, {last});
    } else {
      const Padding pad{between(rng, -1, 1), between(rng, -1, 1), between(rng, -1, 1), between(rng, -1, 1)};
      last = g.add(name(), Shortcut{static_cast<int>(shape.c), stride, pad}, {last});
    }
    if (activations && between(rng, 0, 2) == 0) last = g.add(name(), AlphaAct{.alpha = name()}, {last});
  }
  if (last == 0) norm(last);
  return g;
}

}  // namespace

TEST_CASE("merge: every composition is right in its interior and at its borders") {
  for (const Composition& c : kCompositions) {
    CAPTURE(c.name);
    const Model model = whole_numbers(parse_graph(c.graph), 11);
    const std::vector<Region> groups = all_groups(model.graph);
    REQUIRE(groups.size() == 1);
    CHECK(groups[0].from == 0);
    CHECK(groups[0].to == model.graph.output());
    CHECK(groups[0].ring == c.ring);
    CHECK(groups[0].stop == "output");

    const Model merged = merge(model, groups, Borders::move_padding), moved = move_padding(model, groups);
    CHECK(to_text(merged.graph, merged.graph.output()) == c.merged);
    CHECK(macs(merged.graph) == groups[0].macs_after);

    const Nhwc y = infer_shapes(model.graph).back();
    const Values x = whole_picture(infer_shapes(model.graph)[0], 5);
    const Values ordinary = run(model, x), folded = run(merged, x);
    CHECK(folded == run_on_plane(model, x, groups[0].map.stride));
    CHECK(folded == run(moved, x));
    if (groups[0].exact()) CHECK(moved.graph == model.graph);
    const Model exact = merge(model, groups, Borders::exact);
    CHECK(run(exact, x) == ordinary);
    CHECK(macs(exact.graph) == groups[0].macs_after + groups[0].macs_border);

    int inside = 0, ring_differs = 0;
    for (int64_t h = 0, i = 0; h < y.h; ++h)
      for (int64_t w = 0; w < y.w; ++w)
        for (int64_t o = 0; o < y.c; ++o, ++i) {
          const bool interior =
              h >= c.ring.top && h < y.h - c.ring.bottom && w >= c.ring.left && w < y.w - c.ring.right;
          inside += interior && folded[i] == ordinary[i];
          if (interior) CHECK(folded[i] == ordinary[i]);
          if (!interior) ring_differs += folded[i] != ordinary[i];
        }
    CHECK(inside > 0);
    CHECK((ring_differs > 0) == (c.ring != Padding{}));
  }
}

TEST_CASE("merge: random linear networks become what they compute on an infinite plane") {
  int merged = 0, cropped = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const Model model = whole_numbers(random_graph(seed, 4, false), seed);
    const std::vector<Region> groups = all_groups(model.graph, 99);
    if (groups.size() != 1 || groups[0].from != 0 || groups[0].to != model.graph.output()) continue;
    const Values x = whole_picture(infer_shapes(model.graph)[0], seed);
    const Model one = merge(model, groups, Borders::move_padding);
    CHECK(run(one, x) == run_on_plane(model, x, groups[0].map.stride));
    CHECK(run(merge(model, groups, Borders::exact), x) == run(model, x));
    cropped += one.graph.nodes.size() > 2;
    ++merged;
  }
  CHECK(merged > 200);  // the few others have no convolution and so are not a group
  CHECK(cropped > 5);
}

TEST_CASE("merge: random networks give the same with padding moved, merged at once and merged later") {
  int inexact = 0, several = 0, corrected = 0, differs = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const Model model = whole_numbers(random_graph(seed, 7, true), seed);
    CAPTURE(to_text(model.graph));
    const Values x = whole_picture(infer_shapes(model.graph)[0], seed);
    const std::string mask(foldable_activations(model).size(), seed % 3 ? '#' : '.');
    const auto folded = [&](const Model& from, Merge merge) {
      return fold(from, {.merge = merge, .borders = Borders::move_padding});
    };
    const Model dropped = drop_activations(model, mask);
    const Folded moved = folded(dropped, Merge::none), merged = folded(dropped, Merge::all);
    const Values expected = run(moved.model, x);
    CHECK(run(merged.model, x) == expected);

    const Folded again = folded(moved.model, Merge::none), later = folded(moved.model, Merge::all);
    CHECK(again.model.graph == moved.model.graph);
    CHECK(again.model.tensors == moved.model.tensors);
    REQUIRE(again.report.groups.size() == moved.report.groups.size());
    for (size_t i = 0; i < again.report.groups.size(); ++i) {
      const GroupRow &a = moved.report.groups[i], &b = again.report.groups[i];
      CHECK(b.border == GroupRow::Border::same);
      CHECK(a.op == b.op);
      CHECK(a.from == b.from);
      CHECK(a.to == b.to);
      CHECK(a.kernel == b.kernel);
      inexact += a.border != GroupRow::Border::same;
    }
    CHECK(later.model.graph == merged.model.graph);
    CHECK(later.model.tensors == merged.model.tensors);
    several += merged.report.groups.size() > 1;

    const std::vector<Region> cheap = find_groups(dropped.graph, cheaper(dropped.graph, 7, Borders::move_padding));
    const Model cheap_merged = merge(dropped, cheap, Borders::move_padding);
    CHECK(run(cheap_merged, x) == run(move_padding(dropped, cheap), x));
    CHECK(macs(cheap_merged.graph) <= macs(dropped.graph));
    CHECK(run(folded(moved.model, Merge::cheaper).model, x) == expected);

    const Values as_it_was = run(dropped, x);
    for (const Merge merge : {Merge::all, Merge::cheaper}) {
      const Folded exact = fold(dropped, {.merge = merge, .max_kernel = 9});
      CHECK(run(exact.model, x) == as_it_was);
      for (const GroupRow& group : exact.report.groups) corrected += group.border == GroupRow::Border::kernels;
      if (merge == Merge::cheaper) CHECK(macs(exact.model.graph) <= macs(dropped.graph));
    }
    differs += expected != as_it_was;

    CHECK(run(fold_batch_norm(model), x) == run(model, x));
  }
  CHECK(inexact > 100);
  CHECK(several > 50);
  CHECK(corrected > 100);
  CHECK(differs > 100);
}

TEST_CASE("merge: an activation, a second reader or max pooling ends a group") {
  const std::string head = "input x : channels=2 height=8 width=8\nconv2d a <- x : out=2 kernel=3 pad=1\n";
  struct Stop {
    const char *rest, *reason;
  };
  const std::vector<Stop> stops = {
      {"alpha_act r <- a : alpha=t\nconv2d b <- r : out=2 kernel=3 pad=1\nconv2d c <- b : out=2 kernel=1\n", ""},
      {"batch_norm an <- a\nalpha_act r <- an : alpha=t\nconv2d b <- r : out=2\n", "activation r"},
      {"batch_norm an <- a\nmax_pool2d m <- an : kernel=2 stride=2\nconv2d b <- m : out=2\n", "max pooling m"},
      {"batch_norm an <- a\nconv2d b <- an : out=2\nalpha_act r <- b : alpha=\nadd c <- r an\n",
       "read by both b and c"},
      {"batch_norm an <- a\nglobal_avg_pool p <- an\nlinear l <- p : out=2\n", "global pooling p"},
      {"batch_norm an <- a\nflatten f <- an\nlinear l <- f : out=2\n", "flatten f"},
      {"batch_norm an <- a\nconv2d b <- an : out=2 kernel=3\nalpha_act r <- x : alpha=\nconv2d d <- r : out=2 "
       "kernel=3\nadd c <- b d\n",
       "c adds another value"},
  };
  for (const Stop& stop : stops) {
    CAPTURE(stop.rest);
    const Graph graph = parse_graph(head + stop.rest);
    const std::vector<Region> groups = all_groups(graph);
    if (*stop.reason) {
      REQUIRE(!groups.empty());
      CHECK(graph.nodes[groups[0].from].name == "x");
      CHECK(groups[0].stop == stop.reason);
    } else {
      REQUIRE(groups.size() == 1);  // a single convolution is not a group
      CHECK(graph.nodes[groups[0].from].name == "r");
    }
  }
  const Graph two = parse_graph(head + "conv2d b <- a : out=2 kernel=3 pad=1\nconv2d c <- b : out=2 kernel=3 pad=1\n");
  CHECK(all_groups(two, 5)[0].stop == "its kernel size would be 7, above the maximum of 5");
  CHECK(all_groups(two, 5)[0].map.kernel() == 5);
  CHECK(all_groups(two, 1).empty());
  CHECK(error_of<std::invalid_argument>([&] { all_groups(two, 0); }) ==
        "fold: the maximum kernel size is 0, expected at least 1");
  CHECK(find_groups(two, cheaper(two, 7, Borders::move_padding)).empty());
  const Graph norm = parse_graph(head + "batch_norm an <- a\n");
  CHECK(all_groups(norm, 1).size() == 1);  // merging a batch norm never makes a kernel larger
}

TEST_CASE("merge: linear layers merge, also across global pooling with the 1x1 convolution before it") {
  const Model pooled = whole_numbers(
      parse_graph("input x : channels=3 height=4 width=4\nconv2d a <- x : out=6 kernel=1\nbatch_norm an <- a : eps=0\n"
                  "global_avg_pool p <- an\nflatten f <- p\nlinear l <- f : out=5\nlinear m <- l : out=2\n"),
      1);
  const Model one = merge(pooled, all_groups(pooled.graph), Borders::exact);
  CHECK(to_text(one.graph) ==
        "input x : channels=3 height=4 width=4\nglobal_avg_pool p <- x\nlinear a <- p : out=2 bias=1\n");
  const Values x = whole_picture({1, 4, 4, 3}, 1);
  CHECK(run(one, x) == run(pooled, x));

  const Model spatial = whole_numbers(
      parse_graph(
          "input x : channels=3 height=4 width=4\nconv2d a <- x : out=6 kernel=3 pad=1\nglobal_avg_pool p <- a\n"
          "linear l <- p : out=5\n"),
      1);
  CHECK(all_groups(spatial.graph).empty());
}
