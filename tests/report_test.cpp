// `pleat report`: the page has every part that its inputs call for, is whole, runs and loads nothing, and shows what
// files say as text, whatever that is; and which ops are drawn as merged.
#include <cmath>
#include <limits>

#include "core/check.hpp"
#include "core/rng.hpp"
#include "fold/fold.hpp"
#include "fold/latency_plan.hpp"
#include "fold/mask.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/cifar_files.hpp"
#include "tests/run.hpp"
#include "tools/importance.hpp"
#include "tools/plan_file.hpp"
#include "tools/report/chart.hpp"
#include "tools/report/html.hpp"
#include "tools/report/merged_groups.hpp"
#include "tools/report/network_layout.hpp"
#include "tools/report/network_picture.hpp"
#include "tools/report/provenance.hpp"
#include "tools/train/named_model.hpp"

using namespace pleat;
namespace fs = std::filesystem;

namespace {

Result run(const TempDir& dir, const std::string& arguments) {
  return shell(dir, "export PLEAT_DATA=.; \"$PLEAT\" " + arguments);
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Every tag that is opened is closed in the right order, and no attribute's text ends early.
void check_whole(const std::string& html) {
  const std::vector<std::string> empty = {"meta", "link", "line", "rect", "!DOCTYPE"};
  std::vector<std::string> open;
  for (std::size_t i = html.find('<'); i != std::string::npos; i = html.find('<', i)) {
    const std::size_t end = html.find('>', i);
    REQUIRE(end != std::string::npos);
    const std::string tag = html.substr(i + 1, end - i - 1);
    CAPTURE(tag);
    CHECK(tag.find('<') == std::string::npos);
    CHECK((std::ranges::count(tag, '\'') % 2 == 0 || tag.starts_with("meta")));
    const std::string name = tag.substr(tag[0] == '/', tag.find_first_of(" /", 1) - (tag[0] == '/'));
    if (tag[0] == '/') {
      REQUIRE(!open.empty());
      CHECK(open.back() == tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/' && std::ranges::find(empty, name) == empty.end()) {
      open.push_back(name);
    }
    i = end;
  }
  CHECK(open.empty());
}

std::string report(const TempDir& dir, const std::string& inputs) {
  const Result result = run(dir, "report " + inputs + " --out report.html --json");
  CAPTURE(inputs);
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.json()["report"] == "report.html");
  std::string html = slurp(dir.path("report.html"));
  check_whole(html);
  for (const char* forbidden : {"<script", "http://", "https://", "<img", "url(", "@import"})
    CHECK_MESSAGE(!holds(html, forbidden), forbidden);
  for (const char* number : {"nan", "inf"})  // as coordinates
    CHECK_MESSAGE(!holds(html, concat("='", number)), number);
  return html;
}

void check_parts(const std::string& html, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) CHECK_MESSAGE(holds(html, part), part);
}

// The number of convolutions and linear layers.
int weighted(const Graph& graph) {
  const auto has_weights = [](const Node& node) { return weighted_kernel(node.op) > 0; };
  return static_cast<int>(std::ranges::count_if(graph.nodes, has_weights));
}

// A fold of resnet20 by random alphas, in files a.safetensors and b.safetensors.
FoldReport write_fold(const TempDir& dir) {
  Model model = named_model("resnet20", dataset_info("cifar10"), 3);
  Rng rng(4);
  for (const Foldable& f : foldable_activations(model))
    model.tensors.at(f.alpha).values[0] = static_cast<float>(rng.uniform());
  save_model(dir.path("a.safetensors"), model);
  const Folded folded = fold(model, {.depth = 9, .max_kernel = 7});
  save_model(dir.path("b.safetensors"), folded.model);
  return folded.report;
}

// plan.json for that network, as `pleat plan` writes it, with latencies that follow from the MACs.
void write_plan(const TempDir& dir) {
  const Model model = load_model(dir.path("a.safetensors"));
  const Stopwatch stopwatch = [](int count, const std::function<Model(int)>& network) {
    std::vector<double> seconds;
    for (int i = 0; i < count; ++i) {
      const Graph graph = network(i).graph;
      seconds.push_back(1e-9 * static_cast<double>(macs(graph)) + 1e-4 * conv_count(graph));
    }
    return seconds;
  };
  auto json = to_json(plan_by_latency(model, Borders::move_padding, 7, {}, stopwatch, alpha_losses(model)));
  json.update(
      {{"model", "a.safetensors"}, {"machine", {{"cpu", "a CPU"}}}, {"threads", 2}, {"batch", 1}, {"dtype", "f32"}});
  json["loss"] = {{"by", "alphas"}, {"text", "a sum"}};
  std::ofstream(dir.path("plan.json")) << json;
}

}  // namespace

TEST_CASE("report: a curve's folder, its curve.json alone, and its runs") {
  const TempDir dir;
  write_cifar(dir, 80, 20);
  std::ofstream(dir.path("tiny.json"))
      << R"({"train": {"epochs": 2, "batch": 16}, "prefold": {"epochs": 2, "batch": 16},
                                              "finetune": {"epochs": 1, "batch": 16}})";
  const Result made = run(dir,
                          "curve resnet20 --depths 17,12 --data cifar10 --out c --recipe ./tiny.json --threads 2 "
                          "--seconds 0 --tune off --quiet");
  CAPTURE(made.err);
  REQUIRE(made.code == 0);
  const auto curve = nlohmann::json::parse(slurp(dir.path("c/curve.json")));

  const std::string html = report(dir, "c");
  check_parts(html, {"<h3>What was done</h3>", "pleat curve resnet20 --data cifar10 --seed 1 --threads 2",
                     "--depths 17,12", "--recipe tiny", "finished", "Accuracy against depth",
                     "Accuracy against latency", "Top-1 on the test split after each epoch", "<h3>Every depth</h3>",
                     "Alphas: 1 is the identity", "<h3>The network before and after</h3>", "<svg class='network'",
                     "class='gone'", "all settings", "depth 17, ", "depth 12, "});
  for (const auto& point : curve["points"]) {
    CHECK(holds(html, concat("title='", point["mask"].get<std::string>(), "'")));
    CHECK(holds(html, concat("<td>", scientific(point["max_rel_diff"]), "</td>")));
  }

  fs::copy_file(dir.path("c/curve.json"), dir.path("alone.json"));
  const std::string alone = report(dir, "alone.json");
  check_parts(alone, {"<h3>Every depth</h3>", "<svg class='network'", "class='gone'"});
  // The network that its name stands for is the one that was trained.
  const auto pictures = [](const std::string& page) { return page.substr(page.find("<svg class='network'"), 20000); };
  CHECK(pictures(alone).substr(0, 15000) == pictures(html).substr(0, 15000));

  const std::string runs = report(dir, "c/base c/prefold c/depth-12/kept.safetensors c/depth-12/merged.safetensors");
  check_parts(runs, {"Training run", "pleat train resnet20 --out DIR --data cifar10", "--epochs 2 --batch 16",
                     "pleat prefold base --out DIR", "pleat finetune depth-17 --out DIR", "--teacher base",
                     "pleat fold MODEL --out FILE --mask &#39;", "Folded network", "class='gone'", "Learning rate",
                     "all notes in the file"});

  // Unfinished ones say how far they are.
  auto begun = curve;
  begun["points"].erase(1);
  std::ofstream(dir.path("alone.json")) << begun;
  CHECK(holds(report(dir, "alone.json"), "1 of 2 depths are finished"));
  begun["points"].clear();
  begun["base"] = begun["prefold"] = nullptr;
  std::ofstream(dir.path("alone.json")) << begun;
  CHECK(holds(report(dir, "alone.json"), "the base is not trained yet"));
}

TEST_CASE("report: a fold, a plan, a proof and latencies") {
  const TempDir dir;
  const FoldReport fold = write_fold(dir);
  write_plan(dir);
  REQUIRE(run(dir, "verify a.safetensors b.safetensors --random 4 --json >verify.json").code == 0);
  REQUIRE(run(dir, "bench a.safetensors b.safetensors --runs 2 --tune off --json >bench.json").code == 0);
  REQUIRE(run(dir, "fold a.safetensors --depth 9 --out c.safetensors --json >fold.json").code == 0);
  const std::string html = report(dir, "a.safetensors b.safetensors plan.json verify.json bench.json fold.json");
  check_parts(html, {"Network", "Folded network", "--mask &#39;" + fold.mask, "Alphas of the activations that are left",
                     "<h3>The plan's points</h3>", "Speed-up against loss", ", chosen", "Result of pleat verify",
                     "max_rel_diff", "same_top1", "Result of pleat bench", "median_ms", "Result of pleat fold",
                     "plan: groups"});
  for (const GroupRow& group : fold.groups)
    if (group.kernels.size() > 1) CHECK(holds(html, concat("<td>", group.kernel, "</td>")));
}

TEST_CASE("report: files are text, whatever they say") {
  const TempDir dir;
  const std::string evil = "</pre><script>alert(1)</script>'\" onload='x'&amp;\x01\n<b>";
  Model model = named_model("resnet20", dataset_info("cifar10"), 1);
  model.notes = {{"</pre><script>'\"<b>", evil},
                 {"command", "import"},
                 {"source", evil},
                 {"model", evil},
                 {"top1", evil},
                 {"fold.mask", evil}};
  save_model(dir.path("evil.safetensors"), model);
  const nlohmann::json result = {{"command", evil},
                                 {"version", evil},
                                 {evil, evil},
                                 {"list", {{{evil, evil}}}},
                                 {"o", {{evil, {{{evil, evil}}}}}}};
  std::ofstream(dir.path("evil.json")) << result;
  std::ofstream(dir.path("log.jsonl")) << nlohmann::json{{"epoch", 1}, {"test_top1", 0.5}, {"alphas", {{evil, 0.5}}}}
                                       << '\n';
  fs::create_directories(dir.path("<b>"));
  fs::rename(dir.path("log.jsonl"), dir.path("<b>/log.jsonl"));
  const std::string html = report(dir, "evil.safetensors evil.json '<b>'");
  CHECK(!holds(html, "<b>\n"));
  CHECK(!holds(html, "alert(1)</"));
  CHECK(holds(html, "&lt;script&gt;alert(1)&lt;/script&gt;&#39;&quot; onload=&#39;x&#39;&amp;amp;\\x01"));
}

TEST_CASE("report: what it cannot read is refused by name") {
  const TempDir dir;
  fs::create_directories(dir.path("empty"));
  const auto refuse = [&](const std::string& input, const std::vector<std::string>& parts) {
    check_failure(run(dir, "report " + input + " --out r.html"), 1, parts);
    CHECK(!fs::exists(dir.path("r.html")));
  };
  refuse("empty", {"empty: has neither curve.json nor log.jsonl"});
  refuse("absent", {"absent: "});
  const auto write = [&](const std::string& name, const std::string& text) { std::ofstream(dir.path(name)) << text; };
  write("a.json", R"({"points": [], )");
  refuse("a.json", {"a.json: cut short"});
  write("a.json", "[1]");
  refuse("a.json", {"a.json: ", "not a JSON object"});
  write("a.json", R"({"answer": 42})");
  refuse("a.json", {"a.json: is neither a model"});
  write("a.json", R"({"plan": {"depths": 3}, "points": 7})");
  refuse("a.json", {"a.json: "});
  write("a.json", R"({"candidates": [], "points": [{"loss": "low"}], "chosen": 0})");
  refuse("a.json", {"a.json: "});
  std::string deep = "1";
  for (int i = 0; i < 100'000; ++i) deep = "[" + deep;
  write("a.json", R"({"command": "x", "version": ")" + std::string("1\", \"a\": ") + deep);
  refuse("a.json", {"a.json: nested deeper"});
  write("l.jsonl", "{\"epoch\": 1}\n{\"epoch\": \n");
  refuse("l.jsonl", {"l.jsonl: line 2: cut short"});
  write("l.jsonl", "{\"epoch\": 1, \"test_top1\": \"high\"}\n");
  refuse("l.jsonl", {"l.jsonl: "});
  write("m.safetensors", "no");
  refuse("m.safetensors", {"m.safetensors: "});
  check_failure(run(dir, "report --out r.html"), 2, {"INPUT"});
  // A log whose last line a crash cut short is read up to there.
  write("l.jsonl", "{\"epoch\": 1, \"test_top1\": 0.25}\n{\"epoch\": ");
  CHECK(holds(report(dir, "l.jsonl"), "25.00 %"));
  write("l.jsonl", "");
  CHECK(holds(report(dir, "l.jsonl"), "No epoch is finished yet"));
}

TEST_CASE("report: what is drawn as merged is what was merged") {
  for (const char* name : {"resnet20", "vgg16_bn", "mobilenet_v2_0.75_cifar"}) {
    CAPTURE(name);
    Model model = named_model(name, dataset_info("cifar10"), 3);
    Rng rng(4);
    for (const Foldable& f : foldable_activations(model))
      model.tensors.at(f.alpha).values[0] = static_cast<float>(rng.uniform());
    const std::string mask = mask_from_depth(model, 9);
    const FoldedNetwork by_mask = folded_by_mask(model, mask, 7);
    const Folded prepared = fold(model, {.mask = mask, .merge = FoldOptions::Merge::none, .max_kernel = 7});
    const Graph merged = fold(prepared.model, {.max_kernel = 7}).model.graph;
    const FoldedNetwork by_names = folded_into(model, merged);
    CHECK(by_mask.dropped.size() == static_cast<std::size_t>(std::ranges::count(mask, '.')));
    CHECK(by_mask.dropped == by_names.dropped);
    REQUIRE(by_mask.groups.size() == by_names.groups.size());
    int gone = 0;
    for (std::size_t g = 0; g < by_mask.groups.size(); ++g) {
      CHECK(by_mask.groups[g].nodes == by_names.groups[g].nodes);
      const Node& op = merged.nodes[find(merged, by_mask.groups[g].ops[0])];
      CHECK(weighted_kernel(op.op) == by_mask.groups[g].kernel);
      gone += static_cast<int>(by_mask.groups[g].ops.size()) - 1;
    }
    CHECK(gone == weighted(model.graph) - weighted(merged));
    CHECK(gone > 0);
    CHECK(may_come_from(model.graph, merged));
    CHECK(may_come_from(model.graph, prepared.model.graph));
    CHECK(!may_come_from(merged, model.graph));
    CHECK(!may_come_from(model.graph, model.graph));
    // Nothing merged yet: activations are gone, and that is all.
    CHECK(folded_into(model, prepared.model.graph).groups.empty());
    CHECK(folded_into(model, prepared.model.graph).dropped == by_mask.dropped);

    const NetworkLayout layout = lay_out(by_mask);
    CHECK(layout.width < 1400);
    for (const NetworkLayout::Group& group : layout.groups)
      CHECK(layout.ops[group.first].line == layout.ops[group.last].line);
    for (std::size_t i = 1; i < layout.ops.size(); ++i)
      CHECK(std::pair(layout.ops[i - 1].line, layout.ops[i - 1].x) < std::pair(layout.ops[i].line, layout.ops[i].x));
    check_whole(draw(by_mask));
  }
}

TEST_CASE("report: charts of awkward numbers") {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<std::pair<double, double>>> awkward = {{},
                                                                       {{1, 2}},
                                                                       {{1, 0}, {2, 0}},
                                                                       {{NAN, 1}, {1, inf}},
                                                                       {{1, 1e-30}, {2, 2e-30}},
                                                                       {{1, -1e15}, {1e6, 1e15}},
                                                                       {{0, NAN}, {1, 3}},
                                                                       {{5, 1e9}, {5, 1e9 + 1}}};
  for (const auto& points : awkward) {
    const std::string svg =
        draw({.title = "t", .x_label = "x", .y_label = "y", .series = {{.name = "s", .points = points}}});
    CAPTURE(svg);
    check_whole(svg);
    CHECK(!holds(svg, "nan"));
    CHECK(!holds(svg, "inf"));
    CHECK(svg.size() < 10000);
    CHECK(holds(svg, "<svg") ==
          std::ranges::any_of(points, [](auto& p) { return std::isfinite(p.first) && std::isfinite(p.second); }));
  }
}

TEST_CASE("report: command lines that a shell reads as they were") {
  CHECK(shell_word("runs/a_b-1.json") == "runs/a_b-1.json");
  CHECK(shell_word("#..#") == "'#..#'");
  CHECK(shell_word("it's") == "'it'\\''s'");
  CHECK(shell_word("") == "''");
}
