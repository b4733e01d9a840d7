#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "core/check.hpp"
#include "core/progress.hpp"
#include "data/dataset.hpp"
#include "fold/latency_plan.hpp"
#include "models/models.hpp"
#include "ops/model_file.hpp"
#include "tools/report/chart.hpp"
#include "tools/report/html.hpp"
#include "tools/report/network_picture.hpp"
#include "tools/report/provenance.hpp"
#include "tools/report/sections.hpp"
#include "tools/train/named_model.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxKernel = 7;  // what `pleat curve` merges with

std::string curve_command_line(const Json& curve) {
  const Json& train = curve.at("settings").at("train");
  std::string command =
      concat("pleat curve ", shell_word(curve.at("network").get<std::string>()), " --data ",
             shell_word(curve.at("data").get<std::string>()), " --seed ", curve.at("seed").dump(), " --threads ",
             train.at("threads").dump(), " --dtype ", shell_word(train.at("dtype").get<std::string>()));
  if (train.contains("recipe")) command += " --recipe " + shell_word(train["recipe"].get<std::string>());
  std::string depths;
  for (const Json& depth : curve.at("asked_depths")) depths += (depths.empty() ? "" : ",") + depth.dump();
  if (!depths.empty()) command += " --depths " + shell_word(depths);
  if (number(curve, "budget") > 0) command += concat(" --budget ", number(curve, "budget") / 3600);
  return command + " --out DIR";
}

std::string state(const Json& curve) {
  const std::size_t done = curve.at("points").size(), planned = curve.at("plan").at("depths").size();
  if (curve.at("base").is_null()) return "the base is not trained yet";
  if (curve.at("prefold").is_null()) return "the base is trained, the alphas are not";
  return done == planned ? "finished" : concat(done, " of ", planned, " depths are finished");
}

std::string summary(const Json& curve) {
  const Json& plan = curve.at("plan");
  double seconds = 0;
  for (const char* part : {"base", "prefold"})
    if (!curve.at(part).is_null()) seconds += number(curve.at(part), "seconds");
  for (const Json& point : curve.at("points")) seconds += number(point, "seconds");
  return facts({{"state", state(curve)},
                {"epochs", concat(plan.at("base").dump(), " for the base, ", plan.at("prefold").dump(),
                                  " for the alphas, ", plan.at("depth").dump(), " for each depth")},
                {"time of the trainings", html_text(format_duration(seconds))}});
}

// The base and the depths as points of `y` by `x`.
Chart curve_chart(const Json& curve, const std::string& title, const std::string& x_label, const char* x,
                  double base_x) {
  Chart chart{
      .title = title, .x_label = x_label, .y_label = "top-1, %", .series = {{.name = "merged networks", .points = {}}}};
  Series& series = chart.series[0];
  series.points.emplace_back(base_x, 100 * number(curve.at("base"), "top1"));
  series.labels.push_back("base");
  for (const Json& point : curve.at("points")) {
    series.points.emplace_back(number(point, x), 100 * number(point, "top1"));
    series.labels.push_back(concat("depth ", point.at("depth").dump(), ": ", percent(number(point, "top1")), " %, ",
                                   fixed(number(point, "latency_ms"), 3), " ms"));
  }
  return chart;
}

std::string points_table(const Json& curve) {
  const Json& base = curve.at("base");
  Table table({{"depth"},
               {"top-1, %"},
               {"to the base"},
               {"convolutions"},
               {"MACs, millions"},
               {"parameters, thousands"},
               {"latency, ms"},
               {"times as fast"},
               {"largest difference"},
               {"same top-1, %"},
               {"mask", true}});
  if (!base.is_null())
    table.row({fixed(number(base, "depth"), 0), percent(number(base, "top1")), "", fixed(number(base, "convs"), 0),
               fixed(number(base, "macs") / 1e6, 1), fixed(number(base, "params") / 1e3, 1), "", "", "", "", "base"});
  for (const Json& point : curve.at("points")) {
    const double difference = number(point, "top1") - (base.is_null() ? NAN : number(base, "top1"));
    const auto both = [&](const char* kept, const char* merged, double unit, int digits) {
      return change(fixed(number(point, kept) / unit, digits), fixed(number(point, merged) / unit, digits));
    };
    table.row({fixed(number(point, "depth"), 0), percent(number(point, "top1")),
               (difference > 0 ? "+" : "") + percent(difference), both("convs_kept", "convs", 1, 0),
               both("macs_kept", "macs", 1e6, 1), both("params_kept", "params", 1e3, 1),
               both("latency_ms_kept", "latency_ms", 1, 3),
               fixed(number(point, "latency_ms_base") / number(point, "latency_ms"), 2),
               scientific(number(point, "max_rel_diff")), percent(number(point, "same_top1")),
               mask_cells(point.at("mask").get<std::string>())});
  }
  return table.html() +
         "<p class='note'>Where there are two numbers, the first is of the network whose activations are dropped and "
         "whose ops are not merged yet. The largest difference is that of the merged network's logits from its own, as "
         "a "
         "part of their range, on the whole test split. Latencies are measured in turn with the base's.</p>\n";
}

// The curves and the table; empty while there is no depth yet.
std::string results(const Json& curve) {
  if (curve.at("points").empty()) return "";
  std::vector<double> base_ms;
  for (const Json& point : curve.at("points")) base_ms.push_back(number(point, "latency_ms_base"));
  std::ranges::sort(base_ms);
  return "<h3>The curve</h3>\n<div class='pair'>\n" +
         draw(curve_chart(curve, "Accuracy against depth", "depth: remaining activations + 1", "depth",
                          number(curve.at("base"), "depth"))) +
         draw(curve_chart(curve, "Accuracy against latency", "latency of the merged network, ms", "latency_ms",
                          base_ms[base_ms.size() / 2])) +
         "</div>\n<h3>Every depth</h3>\n" + points_table(curve);
}

// All epochs of the experiment, a series for each part.
std::string epochs_chart(const std::string& log_file) {
  return name_file_in_errors(log_file, [&] {
    Chart chart{.title = "Top-1 on the test split after each epoch",
                .x_label = "epoch of the whole experiment",
                .y_label = "top-1, %",
                .series = {},
                .ordered = true};
    for (const Json& line : read_json_lines(log_file)) {
      const std::string& part = line.at("part").get_ref<const std::string&>();
      if (chart.series.empty() || chart.series.back().name != part)
        chart.series.push_back({.name = part, .points = {}});
      chart.series.back().points.emplace_back(number(line, "epoch"), 100 * number(line, "test_top1"));
    }
    return draw(chart);
  });
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

// The base, or if its file is not there the network that its name and data stand for, without its weights.
std::optional<Model> base_of(const Json& curve, const std::string& folder) {
  const std::string file = folder + "/base/model.safetensors", network = curve.at("network").get<std::string>();
  if (!folder.empty() && fs::exists(file)) return load_model(file);
  const std::string data = curve.at("data").get<std::string>();
  if (!contains(model_names(), network) || !contains(dataset_names(), data)) return {};
  Model model = named_model(network, dataset_info(data), 1);
  if (fingerprint(model.graph) != curve.at("graph").get<std::string>()) return {};
  return model;
}

std::string networks(const Json& curve, const std::string& folder) {
  if (curve.at("points").empty()) return "";
  const std::optional<Model> base = base_of(curve, folder);
  if (!base)
    return "<p>The networks are not drawn: their files are not here, and it is not one that Pleat knows by name.</p>\n";
  std::string html = "<h3>The network before and after</h3>\n";
  // The smallest depth, the last, first.
  for (auto point = curve.at("points").rbegin(); point != curve.at("points").rend(); ++point) {
    const FoldedNetwork folded = folded_by_mask(*base, point->at("mask").get<std::string>(), kMaxKernel);
    html += details(concat("depth ", point->at("depth").dump(), ", ", percent(number(*point, "top1")), " %"),
                    draw(folded) + groups_table(folded), point == curve.at("points").rbegin());
  }
  return html;
}

}  // namespace

std::string curve_section(const std::string& file, const std::string& folder) {
  return name_file_in_errors(file, [&] {
    const Json curve = read_json(file);
    std::string html = "<h3>What was done</h3>\n" + command_box(curve_command_line(curve)) + summary(curve);
    if (!folder.empty() && fs::exists(folder + "/log.jsonl")) html += epochs_chart(folder + "/log.jsonl");
    html += results(curve) + networks(curve, folder);
    for (const char* part : {"base", "prefold"})
      if (!folder.empty() && fs::exists(concat(folder, '/', part, "/log.jsonl")))
        html += details(concat("epochs of ", part), log_section(concat(folder, '/', part, "/log.jsonl")));
    std::vector<Json> recipes;
    for (const char* part : {"train", "prefold", "finetune"}) recipes.push_back(curve.at("settings").at(part));
    return html + details("all settings", settings_table(recipes));
  });
}

}  // namespace pleat
