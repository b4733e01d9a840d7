// Tests latency plans with a stopwatch that computes times instead of measuring them; the file plan.json; and the
// losses.
#include "fold/latency_plan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/file.hpp"
#include "fold/mask.hpp"
#include "fold/merge_candidates.hpp"
#include "models/mobilenet_v2.hpp"
#include "models/resnet.hpp"
#include "models/vgg.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"
#include "tests/temp_dir.hpp"
#include "tools/importance.hpp"
#include "tools/plan_file.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

using Merge = FoldOptions::Merge;

// A stopwatch that counts one nanosecond for each MAC and a fixed number for each op, so that seconds add up exactly.
Stopwatch computed(double op) {
  return [op](int count, const std::function<Model(int)>& network) {
    std::vector<double> seconds;
    for (int i = 0; i < count; ++i) {
      const Graph graph = network(i).graph;
      const auto norm = [](const Node& node) { return std::holds_alternative<BatchNorm>(node.op); };
      const auto norms = std::count_if(graph.nodes.begin(), graph.nodes.end(), norm);
      seconds.push_back(1e-9 *
                        (static_cast<double>(macs(graph)) + op * static_cast<double>(std::ssize(graph.nodes) - norms)));
    }
    return seconds;
  };
}

// The losses are arbitrary whole numbers, one for each activation.
std::vector<double> arbitrary_losses(const std::vector<std::string>& masks) {
  std::vector<double> losses;
  for (const std::string& mask : masks) {
    losses.push_back(0);
    for (std::size_t i = 0; i < mask.size(); ++i)
      if (mask[i] == '.') losses.back() += static_cast<double>(i * 7 % 5 + 1);
  }
  return losses;
}

// Runs of 3x3 convolutions with pooling between them, one of them narrow. Merging some of them saves MACs, merging most
// of them adds MACs.
Model small_chain() {
  std::string text = "input x : channels=3 height=8 width=8\n";
  std::string last = "x";
  const int out[] = {4, 4, 6, 8, 2, 8};
  for (int i = 0; i < 6; ++i) {
    const std::string n = std::to_string(i);
    text += "conv2d c" + n + " <- " + last + " : out=" + std::to_string(out[i]) + " kernel=3 pad=1\n";
    text += "alpha_act a" + n + " <- c" + n + " : alpha=t" + n + "\n";
    last = "a" + n;
    if (i == 2) text += "max_pool2d p <- a2\n", last = "p";
  }
  return real_numbers(parse_graph(text + "conv2d e <- " + last + " : out=5\nglobal_avg_pool g <- e\n"), 4);
}

struct Whole {
  double loss = 0, seconds = 0;
};

// The least seconds of the network with a mask, found by trying to merge every set of candidates.
double least_seconds(const Model& model, const std::string& mask, const Stopwatch& stopwatch) {
  std::vector<OpNames> fitting;
  for (const DropRun& run : drop_runs(model, 7)) {
    const std::string cells = mask.substr(run.first, run.last - run.first + 1);
    if (!run.ops.empty() && cells.find('#') == std::string::npos) fitting.push_back(run.ops);
  }
  double least = std::numeric_limits<double>::infinity();
  for (unsigned set = 0; set < 1u << fitting.size(); ++set) {
    std::vector<OpNames> groups;
    OpNames all;
    for (std::size_t i = 0; i < fitting.size(); ++i)
      if (set >> i & 1) groups.push_back(fitting[i]), all.insert(all.end(), fitting[i].begin(), fitting[i].end());
    std::sort(all.begin(), all.end());
    if (std::adjacent_find(all.begin(), all.end()) != all.end()) continue;  // candidates overlap
    const auto network = [&](int) {
      return fold(model, {.mask = mask, .groups = groups, .borders = Borders::move_padding}).model;
    };
    least = std::min(least, stopwatch(1, network)[0]);
  }
  return least;
}

}  // namespace

TEST_CASE("plan: finds the runs of a ResNet, a MobileNetV2 and a VGG that can be merged") {
  const auto text = [](const Graph& graph) {
    std::string runs;
    for (const DropRun& run : drop_runs(real_numbers(graph, 1), 7)) {
      runs += runs.empty() ? "" : " ";
      runs += std::to_string(run.first) + '-' + std::to_string(run.last);
      if (!run.ops.empty()) runs += ':' + std::to_string(run.ops.size()) + '/' + std::to_string(run.kernel);
    }
    return runs;
  };
  CHECK(text(resnet_cifar(8, Input{3, 8, 8}, 10, false)) == "0-0:2/5 1-1 2-2:2/7 3-3 4-4:2/7 5-5");
  // Block 1 has no expansion: merging would multiply its arithmetic. Stride 2 stands before 2, 4, 7 and 14.
  CHECK(text(mobilenet_v2(1.0, false, Input{3, 32, 32}, 10))
            .starts_with("0-0 0-1:5/5 1-1:3/3 1-2:6/7 2-2:3/3 2-3:6/5 3-3:3/3"));
  // Pooling after the second convolution.
  CHECK(text(vgg_bn(16, Input{3, 32, 32}, 10)).starts_with("0-0:2/5 1-1 2-2:2/5 3-3 4-4:2/5 4-5:3/7 5-5:2/5 6-6 "));
}

TEST_CASE("plan: finds the best of all masks if seconds and losses add up") {
  const Model model = small_chain();
  for (const double op : {0.0, 3000.0, 50000.0}) {
    CAPTURE(op);
    const Stopwatch stopwatch = computed(op);
    const LatencyPlan plan = plan_by_latency(model, Borders::move_padding, 7, {}, stopwatch, arbitrary_losses);
    CHECK(plan.seconds == stopwatch(1, [&](int) { return model; })[0]);
    CHECK(prediction_error(plan) < 1e-9);

    std::vector<Whole> all;
    for (unsigned bits = 0; bits < 64; ++bits) {
      std::string mask;
      for (int i = 0; i < 6; ++i) mask += bits >> i & 1 ? '.' : '#';
      all.push_back({arbitrary_losses({mask})[0], least_seconds(model, mask, stopwatch)});
    }
    REQUIRE(!plan.points.empty());
    bool base = false;
    for (const PlanPoint& point : plan.points) {
      CAPTURE(point.mask);
      CHECK(point.loss == arbitrary_losses({point.mask})[0]);
      CHECK(point.measured_loss == point.loss);
      CHECK(point.seconds == doctest::Approx(*point.measured_seconds));
      CHECK(point.depth == depth(model.graph) - std::count(point.mask.begin(), point.mask.end(), '.'));
      base = base || point.mask == "######";
      if (point.best_of_depth) continue;
      for (const Whole& whole : all) {
        const bool beats = whole.loss <= point.loss && whole.seconds < point.seconds - 1e-12;
        CHECK(!beats);
      }
    }
    CHECK(base);
    const auto fastest =
        std::min_element(all.begin(), all.end(), [](const Whole& a, const Whole& b) { return a.seconds < b.seconds; });
    CHECK(plan.points.back().seconds == doctest::Approx(fastest->seconds));
  }
}

TEST_CASE("plan: the chosen point fulfils the goal") {
  const Model model = small_chain();
  const auto chosen = [&](const PlanGoal& goal) {
    const LatencyPlan plan = plan_by_latency(model, Borders::move_padding, 7, goal, computed(50000), arbitrary_losses);
    PlanPoint point = plan.points.at(plan.chosen);
    point.seconds = plan.seconds / point.seconds;
    return point;
  };
  const PlanPoint cheap = chosen({.max_loss = 4});
  CHECK(cheap.loss <= 4);
  CHECK(cheap.seconds > 1);
  CHECK(chosen({.max_loss = 0}).mask == "######");
  const PlanPoint fast = chosen({.min_speedup = cheap.seconds * 1.001});
  CHECK(fast.seconds > cheap.seconds);
  CHECK(fast.loss > 4);
  const PlanPoint shallow = chosen({.depth = depth(model.graph) - 3});
  CHECK(std::count(shallow.mask.begin(), shallow.mask.end(), '.') == 3);

  CHECK(chosen({}).mask != "######");
  const Stopwatch even = [](int count, const auto&) {
    std::vector<double> seconds;
    for (int i = 0; i < count; ++i) seconds.push_back(1 - 0.001 * i);
    return seconds;
  };
  const LatencyPlan noise = plan_by_latency(model, Borders::move_padding, 7, {}, even, arbitrary_losses);
  CHECK(noise.points.at(noise.chosen).mask == "######");  // nothing that is a tenth faster

  // A candidate that seems fast by chance in the first measurement and not in the second.
  int measurements = 0;
  const Stopwatch lucky = [&](int count, const auto&) {
    std::vector<double> seconds(count, measurements++ == 0 ? 0.9 : 1.0);
    seconds[0] = 1;
    return seconds;
  };
  const LatencyPlan sober = plan_by_latency(model, Borders::move_padding, 7, {}, lucky, arbitrary_losses);
  CHECK(sober.points.at(sober.chosen).mask == "######");
  CHECK(sober.points.size() > 2);
  for (const PlanPoint& point : sober.points) CHECK(point.seconds == doctest::Approx(1));

  const auto error = [&](const PlanGoal& goal) { return error_of<std::invalid_argument>([&] { chosen(goal); }); };
  CHECK(holds(error({.min_speedup = 100}), ", expected at least 100"));
  CHECK(holds(error({.max_loss = 0.5, .depth = depth(model.graph) - 1}),
              "the least loss of all points is 1, expected at most 0.5"));
  CHECK(holds(error({.depth = 100}), "depth 100 was asked for"));
}

TEST_CASE("plan: a model that cannot be planned is refused") {
  const Model model = small_chain();
  const auto error = [&](const Stopwatch& stopwatch, const Losses& losses) {
    try {
      plan_by_latency(model, Borders::move_padding, 7, {}, stopwatch, losses);
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(holds(
      error(computed(0), [](const std::vector<std::string>& masks) { return std::vector<double>(masks.size(), NAN); }),
      "expected a finite number"));
  const Stopwatch noise = [](int count, const auto&) {
    std::vector<double> seconds(count, 0.1);
    seconds[0] = 1;
    return seconds;
  };
  CHECK(holds(error(noise, arbitrary_losses), "too noisy"));
  const Model rigid = real_numbers(parse_graph("input x : channels=2 height=5 width=5\nconv2d a <- x : out=4\n"), 1);
  CHECK(holds(error_of<std::invalid_argument>(
                  [&] { plan_by_latency(rigid, Borders::move_padding, 7, {}, computed(0), arbitrary_losses); }),
              "0 foldable activations"));
}

TEST_CASE("fold: by latency only groups that get faster are merged, and of overlapping groups the best sum") {
  const Model model = small_chain();
  const std::string mask = "..##..";
  std::set<int> convolutions;
  for (const double op : {0.0, 3000.0, 50000.0}) {
    CAPTURE(op);
    const Stopwatch stopwatch = computed(op);
    const Folded folded =
        fold(model, {.mask = mask, .merge = Merge::latency, .borders = Borders::move_padding, .stopwatch = stopwatch});
    CHECK(stopwatch(1, [&](int) { return folded.model; })[0] == doctest::Approx(least_seconds(model, mask, stopwatch)));
    CHECK(folded.model.notes.at("fold.merge") == "latency");
    CHECK(folded.report.timed.groups.size() >= 4);  // of which three overlap
    convolutions.insert(conv_count(folded.model.graph));
  }
  CHECK(convolutions.size() >= 2);
  // After fine-tuning, only groups that were prepared are merged.
  const Model prepared = fold(model, {.mask = mask, .merge = Merge::none}).model;
  const Folded merged = fold(prepared, {.merge = Merge::latency, .stopwatch = computed(50000)});
  CHECK(conv_count(merged.model.graph) < conv_count(prepared.graph));
  const Values x = whole_picture({1, 8, 8, 3}, 8);
  const Values expected = run(prepared, x), got = run(merged.model, x);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-4));
  CHECK(holds(error_of<std::invalid_argument>([&] { fold(model, {.mask = mask, .merge = Merge::latency}); }),
              "needs a stopwatch"));
}

TEST_CASE("fold: with a list of groups only these are merged") {
  const Model model = small_chain();
  const Folded folded = fold(model, {.mask = "..####", .groups = {{{"c1", "c2"}}}, .borders = Borders::move_padding});
  CHECK(conv_count(folded.model.graph) == conv_count(model.graph) - 1);
  CHECK(find(folded.model.graph, "c0") >= 0);
  CHECK(find(folded.model.graph, "c2") < 0);
  CHECK(fold(model, {.mask = "..####", .groups = {std::vector<OpNames>{}}}).report.groups.empty());
  CHECK(holds(error_of<std::invalid_argument>([&] {
                fold(model, {.mask = "######", .groups = {{{"c1", "c2"}}}});
              }),
              "c1, c2: cannot be merged into one op here"));
}

TEST_CASE("plan.json: a point is applied before and after fine-tuning; a plan that does not fit is refused") {
  const TempDir dir;
  const Model model = small_chain();
  const LatencyPlan made = plan_by_latency(model, Borders::move_padding, 7, {}, computed(50000), arbitrary_losses);
  const std::string path = dir.path("plan.json"), text = to_json(made).dump();
  write_file(path, text);
  const LatencyPlan plan = read_plan(path);
  REQUIRE(plan.points.size() == made.points.size());
  CHECK(plan.chosen == made.chosen);
  CHECK(plan.seconds == doctest::Approx(made.seconds));
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    const PlanPoint& point = plan.points[i];
    CHECK(point.mask == made.points[i].mask);
    CHECK(point.groups == made.points[i].groups);
    CHECK(point.depth == made.points[i].depth);
    CHECK(point.best_of_depth == made.points[i].best_of_depth);
    CHECK(point.seconds == doctest::Approx(made.points[i].seconds));

    const Model direct = fold_point(plan, point, model, {.borders = Borders::move_padding}).model;
    const Model prepared = fold_point(plan, point, model, {.merge = Merge::none}).model;
    CHECK(depth(prepared.graph) == point.depth);
    const Model merged = fold_point(plan, point, prepared, {}).model;
    CHECK(to_text(merged.graph) == to_text(direct.graph));
  }

  const PlanPoint &first = plan.points.front(), &last = plan.points.back();
  const Model other = fold_point(plan, last, model, {.merge = Merge::none}).model;
  const auto error = [&](const auto& f) { return error_of<std::invalid_argument>(f); };
  CHECK(holds(error([&] { fold_point(plan, first, other, {}); }), "the model was folded by '"));
  const Model stranger = real_numbers(resnet_cifar(8, Input{3, 8, 8}, 10, false), 1);
  CHECK(holds(error([&] { fold_point(plan, first, stranger, {}); }), "the graph of this network is "));

  const auto refused = [&](const std::string& bad) {
    write_file(path, bad);
    const std::string message = error_of<std::runtime_error>([&] { read_plan(path); });
    CHECK(message.starts_with(path + ": "));
    return message;
  };
  const auto changed = [&](const std::string& old_part, const std::string& new_part) {
    const std::size_t start = text.find(old_part);
    REQUIRE(start != std::string::npos);
    return refused(std::string(text).replace(start, old_part.size(), new_part));
  };
  refused("");
  refused("[]");
  refused(text.substr(0, text.size() / 2));
  CHECK(holds(refused("{}"), "not a plan"));
  CHECK(holds(changed("\"format_version\":1", "\"format_version\":2"), "format version 2, expected 1"));
  CHECK(holds(changed("\"mask\":\"", "\"mask\":\"#"), "expected 6 characters"));
  CHECK(holds(changed("\"borders\":\"reorder\"", "\"borders\":\"some\""), "borders 'some'"));
  CHECK(holds(changed("\"chosen\":", "\"chosen\":99"), "chosen is 99"));
  CHECK(holds(changed("\"base_ms\":", "\"base_ms\":-"), "base_ms is -"));
  changed("\"points\":[", "\"points\":[7,");
  changed("\"alphas\":[", "\"alphas\":[7,");
  changed("\"groups\":[", "\"groups\":[7,");
}

TEST_CASE("plan: losses are estimated from alphas and from the change of the outputs") {
  Model model = small_chain();
  const std::vector<Foldable> cells = foldable_activations(model);
  const std::vector<double> by_alpha = alpha_losses(model)({"######", "#.##.#"});
  CHECK(by_alpha[0] == 0);
  CHECK(by_alpha[1] == doctest::Approx(2 - cells[1].value - cells[4].value));

  const std::vector<float> p = {0, 0}, q = {std::log(3.0f), 0};
  CHECK(divergence(p, p) == 0);
  CHECK(divergence(p, q) == doctest::Approx(0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25)));

  // Dropping an activation whose alpha is already 1 loses nothing.
  model.tensors.at(cells[3].alpha).values[0] = 1;
  AlignedVector<float> pictures(7 * 8 * 8 * 3);
  Rng rng(5);
  for (float& pixel : pictures) pixel = static_cast<float>(rng.normal());
  const std::vector<double> losses = divergences(model, pictures, true)({"######", "###.##", "#.####", "......"});
  CHECK(losses[0] == 0);
  CHECK(losses[1] == doctest::Approx(0).epsilon(1e-6));
  CHECK(losses[2] > 1e-6);
  CHECK(losses[3] > 1e-6);
}
