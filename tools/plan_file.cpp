#include "tools/plan_file.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/json.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "pleat plan";
constexpr int kFormatVersion = 1;

Json number(const std::optional<double>& value, double scale = 1) {
  return value ? Json(scale * *value) : Json();
}

Json to_json(const LatencyPlan& plan, const Candidate& candidate) {
  const DropRun& run = candidate.run;
  Json json = {{"first", plan.alphas[run.first]},
               {"last", plan.alphas[run.last]},
               {"loss", candidate.loss},
               {"dropped_ms", 1e3 * candidate.seconds}};
  if (!run.ops.empty())
    json.update({{"merged_ms", 1e3 * candidate.merged_seconds}, {"ops", run.ops}, {"kernel", run.kernel}});
  return json;
}

Json to_json(const LatencyPlan& plan, const PlanPoint& point) {
  const auto speedup = [&](double seconds) { return plan.seconds / seconds; };
  return {{"mask", point.mask},
          {"depth", point.depth},
          {"best_of_depth", point.best_of_depth},
          {"groups", point.groups},
          {"loss", point.loss},
          {"measured_loss", number(point.measured_loss)},
          {"predicted_ms", 1e3 * point.seconds},
          {"measured_ms", number(point.measured_seconds, 1e3)},
          {"predicted_speedup", speedup(point.seconds)},
          {"measured_speedup", point.measured_seconds ? Json(speedup(*point.measured_seconds)) : Json()}};
}

double positive(const Json& json, const char* name) {
  const double value = json.at(name).get<double>();
  PLEAT_CHECK(std::isfinite(value) && value > 0, name, " is ", value, ", expected a finite number above 0");
  return value;
}

PlanPoint parse_point(const Json& json, std::size_t cells) {
  PlanPoint point{.mask = json.at("mask"), .groups = json.at("groups"), .depth = json.at("depth")};
  PLEAT_CHECK(point.mask.size() == cells && point.mask.find_first_not_of("#.") == std::string::npos, "mask '",
              point.mask, "', expected ", cells, " characters, each # or .");
  for (const OpNames& group : point.groups) PLEAT_CHECK(!group.empty(), "a group has 0 ops, expected at least 1");
  point.best_of_depth = json.at("best_of_depth");
  point.loss = json.at("loss");
  point.seconds = positive(json, "predicted_ms") / 1e3;
  return point;
}

LatencyPlan parse_plan(const Json& json) {
  PLEAT_CHECK(json.is_object() && json.value("format", "") == kFormat,
              "is not a plan written by `pleat plan`, expected the format '", kFormat, "'");
  PLEAT_CHECK(json.at("format_version") == kFormatVersion, "format version ", json.at("format_version"), ", expected ",
              kFormatVersion);
  const std::string& borders = json.at("borders").get_ref<const std::string&>();
  PLEAT_CHECK(borders == "exact" || borders == "reorder", "borders '", borders, "', expected exact or reorder");
  LatencyPlan plan{json.at("graph"), json.at("alphas"), borders == "exact" ? Borders::exact : Borders::move_padding,
                   json.at("max_kernel")};
  PLEAT_CHECK(plan.max_kernel >= 1, "max_kernel is ", plan.max_kernel, ", expected at least 1");
  plan.seconds = positive(json, "base_ms") / 1e3;
  for (const Json& point : json.at("points")) plan.points.push_back(parse_point(point, plan.alphas.size()));
  plan.chosen = json.at("chosen");
  PLEAT_CHECK(plan.chosen >= 0 && plan.chosen < std::ssize(plan.points), "chosen is ", plan.chosen, ", expected 0 to ",
              std::ssize(plan.points) - 1);
  return plan;
}

}  // namespace

Json to_json(const LatencyPlan& plan) {
  Json candidates = Json::array(), points = Json::array();
  for (const Candidate& candidate : plan.candidates) candidates.push_back(to_json(plan, candidate));
  for (const PlanPoint& point : plan.points) points.push_back(to_json(plan, point));
  return {{"format", kFormat},
          {"format_version", kFormatVersion},
          {"graph", plan.graph},
          {"alphas", plan.alphas},
          {"borders", plan.borders == Borders::exact ? "exact" : "reorder"},
          {"max_kernel", plan.max_kernel},
          {"base_ms", 1e3 * plan.seconds},
          {"candidates", candidates},
          {"points", points},
          {"chosen", plan.chosen},
          {"prediction_error", prediction_error(plan)}};
}

LatencyPlan read_plan(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  const Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  PLEAT_CHECK_FILE(json.is_object(), path, "is not a plan: cut short, or not a JSON object");
  try {
    return parse_plan(json);
  } catch (const Json::exception&) {
    throw std::runtime_error(concat(path, ": is not a plan: a field is missing, or of another type"));
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(concat(path, ": ", error.what()));
  }
}

}  // namespace pleat
