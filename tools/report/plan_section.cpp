#include "core/check.hpp"
#include "tools/report/chart.hpp"
#include "tools/report/html.hpp"
#include "tools/report/sections.hpp"

namespace pleat {
namespace {

Chart speed_against_loss(const Json& plan) {
  using enum Series::Look;
  Chart chart{.title = "Speed-up against loss",
              .x_label = "loss",
              .y_label = "times as fast",
              .series = {{.name = "predicted", .points = {}, .look = points},
                         {.name = "measured", .points = {}, .look = points},
                         {.name = "chosen", .points = {}, .look = points}}};
  for (const Json& point : plan.at("points")) {
    const double loss = number(point, "loss");
    chart.series[0].points.emplace_back(loss, number(point, "predicted_speedup"));
    chart.series[1].points.emplace_back(loss, number(point, "measured_speedup"));
  }
  const Json& chosen = plan.at("points").at(plan.at("chosen").get<std::size_t>());
  chart.series[2].points.emplace_back(number(chosen, "loss"), number(chosen, "predicted_speedup"));
  return chart;
}

std::string points_table(const Json& plan) {
  Table table({{"point"},
               {"depth"},
               {"merged ops"},
               {"loss"},
               {"measured"},
               {"ms"},
               {"measured"},
               {"times as fast"},
               {"measured"},
               {"mask", true}});
  const auto chosen = plan.at("chosen").get<std::size_t>();
  std::size_t i = 0;
  for (const Json& point : plan.at("points")) {
    table.row({concat(i, i == chosen ? ", chosen" : ""), fixed(number(point, "depth"), 0),
               concat(point.at("groups").size()), fixed(number(point, "loss"), 4),
               fixed(number(point, "measured_loss"), 4), fixed(number(point, "predicted_ms"), 3),
               fixed(number(point, "measured_ms"), 3), fixed(number(point, "predicted_speedup"), 2),
               fixed(number(point, "measured_speedup"), 2), mask_cells(point.at("mask").get<std::string>())},
              i == chosen);
    ++i;
  }
  return table.html();
}

std::string candidates_table(const Json& plan) {
  Table table({{"first activation", true}, {"last", true}, {"loss"}, {"ms when dropped"}, {"and merged"}, {"kernel"}});
  for (const Json& candidate : plan.at("candidates"))
    table.row({html_text(candidate.at("first").get<std::string>()), html_text(candidate.at("last").get<std::string>()),
               fixed(number(candidate, "loss"), 4), fixed(number(candidate, "dropped_ms"), 3),
               fixed(number(candidate, "merged_ms"), 3), fixed(number(candidate, "kernel"), 0)});
  return table.html();
}

}  // namespace

std::string plan_section(const Json& plan) {
  std::string html =
      facts({{"network", html_text(plan.at("model").get<std::string>())},
             {"latency of the network as it is", fixed(number(plan, "base_ms"), 3) + " ms"},
             {"measured with", html_text(concat("batch ", plan.at("batch").dump(), ", ", plan.at("threads").dump(),
                                                " threads, ", plan.at("dtype").get<std::string>(), ", ",
                                                plan.at("machine").at("cpu").get<std::string>()))},
             {"loss", html_text(plan.at("loss").at("text").get<std::string>())},
             {"predicted latencies are off by at most", fixed(100 * number(plan, "prediction_error"), 1) + " %"}});
  html += draw(speed_against_loss(plan)) + "<h3>The plan's points</h3>\n" + points_table(plan);
  return html + details("runs of activations that were dropped alone", candidates_table(plan));
}

}  // namespace pleat
