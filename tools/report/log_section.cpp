#include <algorithm>
#include <cmath>
#include <map>

#include "core/check.hpp"
#include "core/progress.hpp"
#include "tools/report/chart.hpp"
#include "tools/report/html.hpp"
#include "tools/report/sections.hpp"

namespace pleat {
namespace {

// A field over the epochs, times `scale`.
Series over_epochs(const std::vector<Json>& log, const char* name, const char* key, double scale = 1,
                   Series::Look look = Series::Look::line) {
  Series series{.name = name, .points = {}, .look = look};
  for (const Json& line : log) series.points.emplace_back(number(line, "epoch"), scale * number(line, key));
  return series;
}

// The alphas in network order, one series each.
Chart alphas_chart(const std::vector<Json>& log) {
  Chart chart{.title = "Alphas: 1 is the identity, 0 the activation as it was",
              .x_label = "epoch",
              .y_label = "alpha",
              .series = {},
              .ordered = true,
              .y_from_zero = true};
  std::map<std::string, std::size_t> index;
  for (const Json& line : log) {
    if (!line.contains("alphas")) continue;
    for (const auto& [name, value] : line["alphas"].items()) {
      const auto [place, is_new] = index.emplace(name, chart.series.size());
      if (is_new) chart.series.push_back({.name = name, .points = {}});
      chart.series[place->second].points.emplace_back(number(line, "epoch"), number(line["alphas"], name.c_str()));
    }
  }
  return chart;
}

double sum(const std::vector<Json>& log, const char* key) {
  double total = 0;
  for (const Json& line : log) total += number(line, key);
  return total;
}

}  // namespace

std::string log_section(const std::string& file) {
  return name_file_in_errors(file, [&] {
    const std::vector<Json> log = read_json_lines(file);
    if (log.empty()) return std::string("<p>No epoch is finished yet.</p>\n");
    const Json& last = log.back();
    std::string html = facts({{"epochs finished", plain(number(last, "epoch"))},
                              {"time of the training steps", html_text(format_duration(sum(log, "seconds")))},
                              {"pictures a second, last epoch", fixed(number(last, "images_per_second"), 0)}});
    if (last.contains("test_top1")) {  // absent where there was nothing to test on (pleat distill without --val)
      double best = 0;
      for (const Json& line : log) best = std::max(best, number(line, "test_top1"));
      html += facts({{"top-1 on the test split, last epoch", percent(number(last, "test_top1")) + " %"},
                     {"highest after any epoch", percent(best) + " %"},
                     {"loss on the test split, last epoch", fixed(number(last, "test_loss"), 4)}});
    }
    html += "<div class='pair'>\n";
    html += draw({.title = "Accuracy",
                  .x_label = "epoch",
                  .y_label = "top-1, %",
                  .series = {over_epochs(log, "test", "test_top1", 100),
                             over_epochs(log, "training", "train_top1", 100, Series::Look::dashed)}});
    html += draw({.title = "Loss",
                  .x_label = "epoch",
                  .y_label = "loss",
                  .series = {over_epochs(log, "test", "test_loss"),
                             over_epochs(log, "training", "train_loss", 1, Series::Look::dashed)}});
    const Chart alphas = alphas_chart(log);
    if (!alphas.series.empty()) html += draw(alphas);
    html += draw({.title = "Learning rate of each epoch's last step",
                  .x_label = "epoch",
                  .y_label = "learning rate",
                  .series = {over_epochs(log, "learning rate", "lr")},
                  .y_from_zero = true});
    return html + "</div>\n";
  });
}

}  // namespace pleat
