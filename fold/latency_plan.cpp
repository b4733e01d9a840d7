#include "fold/latency_plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "core/check.hpp"
#include "fold/dynamic_programming.hpp"
#include "fold/mask.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

constexpr std::size_t kFrontPoints = 12;
constexpr double kWorthwhileSpeedup = 1.1;  // predictions may be off by about as much

// The mask that drops only this run.
std::string mask_of(std::size_t cells, const DropRun& run) {
  std::string mask(cells, '#');
  std::fill(mask.begin() + run.first, mask.begin() + run.last + 1, '.');
  return mask;
}

// Measures in one go the network itself, the candidates with these indices (once dropped and once also merged) and all
// points, and fills in their seconds. If plan.seconds is known from an earlier measurement, all times are scaled to it,
// because the speed of the machine may have changed in between.
void time_all(const Model& model, LatencyPlan& plan, const std::set<int>& candidates, const Stopwatch& stopwatch) {
  std::vector<std::pair<double*, std::function<Model()>>> networks = {{&plan.seconds, [&] { return model; }}};
  for (const int i : candidates) {
    Candidate& candidate = plan.candidates[i];
    const std::string mask = mask_of(plan.alphas.size(), candidate.run);
    networks.emplace_back(&candidate.seconds, [&model, mask] { return drop_activations(model, mask); });
    if (candidate.run.ops.empty()) continue;
    const FoldOptions options{
        .mask = mask, .groups = {{candidate.run.ops}}, .max_kernel = plan.max_kernel, .borders = plan.borders};
    networks.emplace_back(&candidate.merged_seconds, [&model, options] { return fold(model, options).model; });
  }
  for (PlanPoint& point : plan.points)
    networks.emplace_back(&point.measured_seconds.emplace(),
                          [&] { return fold_point(plan, point, model, {.borders = plan.borders}).model; });

  const std::vector<double> seconds =
      stopwatch(static_cast<int>(networks.size()), [&](int i) { return networks[i].second(); });
  const double scale = plan.seconds > 0 ? plan.seconds / seconds[0] : 1;
  for (std::size_t i = 0; i < networks.size(); ++i) *networks[i].first = scale * seconds[i];
}

void fill_losses(LatencyPlan& plan, const Losses& losses) {
  std::vector<std::string> masks;
  for (const Candidate& candidate : plan.candidates) masks.push_back(mask_of(plan.alphas.size(), candidate.run));
  const std::vector<double> loss = losses(masks);
  for (std::size_t i = 0; i < loss.size(); ++i) {
    PLEAT_CHECK(std::isfinite(loss[i]), "plan: the loss of mask ", masks[i], " is ", loss[i],
                ", expected a finite number");
    plan.candidates[i].loss = loss[i];
  }
}

// The predicted seconds of a point: the network's, plus the measured differences of the point's candidates.
double predicted_seconds(const LatencyPlan& plan, const PlanPoint& point) {
  double seconds = plan.seconds;
  for (const int i : point.dropped) seconds += plan.candidates[i].seconds - plan.seconds;
  for (const int i : point.merged) seconds += plan.candidates[i].merged_seconds - plan.candidates[i].seconds;
  if (seconds <= 0)
    throw std::runtime_error(
        concat("plan: mask ", point.mask, " is predicted to take ", 1e3 * seconds,
               " ms, expected above 0\nhint: the measurements are too noisy; measure longer (--seconds) "
               "or with nothing else running"));
  return seconds;
}

// Translates between candidates and the segments of the dynamic programming, and choices of segments back into points.
// A candidate becomes several segments, which differ in what is merged.
class SegmentTable {
 public:
  SegmentTable(const LatencyPlan& plan, const Graph& graph) : plan_(plan) {
    for (int dropped = 0; dropped < std::ssize(plan.candidates); ++dropped) {
      const DropRun& run = plan.candidates[dropped].run;
      std::vector<Merge> merges;
      for (int i = 0; i < std::ssize(plan.candidates); ++i) {
        const Candidate& part = plan.candidates[i];
        if (part.run.first < run.first || part.run.last > run.last || part.run.ops.empty()) continue;
        merges.push_back(
            {{find(graph, part.run.ops.front()), find(graph, part.run.ops.back()), part.merged_seconds - part.seconds},
             i});
      }
      add(dropped, merges);
    }
  }

  const std::vector<Segment>& segments() const { return segments_; }

  PlanPoint point(const Choice& choice) const {
    PlanPoint point{.mask = std::string(plan_.alphas.size(), '#'), .groups = {}, .loss = choice.loss};
    for (const int s : choice.segments) {
      std::fill(point.mask.begin() + segments_[s].first, point.mask.begin() + segments_[s].last + 1, '.');
      point.dropped.push_back(dropped_[s]);
      for (const int i : merged_[s]) {
        point.merged.push_back(i);
        point.groups.push_back(plan_.candidates[i].run.ops);
      }
    }
    return point;
  }

 private:
  struct Merge : Interval {
    int candidate;
  };

  // Adds a candidate with the best set of merges inside it, and with the best sets that leave its first op, its last op
  // or both to a neighbouring segment.
  void add(int dropped, const std::vector<Merge>& merges) {
    const Candidate& candidate = plan_.candidates[dropped];
    int first = std::numeric_limits<int>::max(), last = -1;
    for (const Merge& merge : merges) first = std::min(first, merge.first), last = std::max(last, merge.last);
    std::set<std::vector<int>> known;
    for (const bool leave_first : {false, true})
      for (const bool leave_last : {false, true}) {
        std::vector<Merge> allowed = merges;
        std::erase_if(allowed, [&](const Merge& merge) {
          return (leave_first && merge.first == first) || (leave_last && merge.last == last);
        });
        Segment segment{candidate.run.first, candidate.run.last, candidate.loss, candidate.seconds - plan_.seconds};
        std::vector<int> merged;
        for (const int i : cheapest_intervals({allowed.begin(), allowed.end()})) {
          segment.seconds += allowed[i].cost;
          segment.first_op = std::min(segment.first_op, allowed[i].first);
          segment.last_op = allowed[i].last;
          merged.push_back(allowed[i].candidate);
        }
        if (!known.insert(merged).second) continue;
        segments_.push_back(segment);
        dropped_.push_back(dropped);
        merged_.push_back(std::move(merged));
      }
  }

  const LatencyPlan& plan_;
  std::vector<Segment> segments_;
  std::vector<int> dropped_;              // by segment: the candidate whose run is dropped
  std::vector<std::vector<int>> merged_;  // by segment: the candidates whose ops are merged
};

// The knee of a front, or its point of least loss if even the fastest point is less than kWorthwhileSpeedup times as
// fast as that one: such a small difference may be noise.
const Choice& default_choice(const std::vector<Choice>& front, double base) {
  const bool worthwhile = base + front.front().seconds >= kWorthwhileSpeedup * (base + front.back().seconds);
  return front[worthwhile ? knee(front) : 0];
}

// The choice of a front that fulfils the goal. `base` is the time of the network with nothing dropped.
Choice choose(const std::vector<Choice>& front, double base, const PlanGoal& goal) {
  const auto speedup = [&](const Choice& c) { return base / (base + c.seconds); };
  if (goal.max_loss) {
    PLEAT_CHECK(front.front().loss <= *goal.max_loss, "plan: the least loss of all points is ", front.front().loss,
                ", expected at most ", *goal.max_loss);
    return *std::find_if(front.rbegin(), front.rend(), [&](const Choice& c) { return c.loss <= *goal.max_loss; });
  }
  if (goal.min_speedup) {
    PLEAT_CHECK(speedup(front.back()) >= *goal.min_speedup, "plan: the greatest speed-up of all points is ",
                speedup(front.back()), ", expected at least ", *goal.min_speedup);
    return *std::find_if(front.begin(), front.end(), [&](const Choice& c) { return speedup(c) >= *goal.min_speedup; });
  }
  return default_choice(front, base);
}

// Selects at most kFrontPoints choices of a front: the range of seconds is divided into equal intervals, and of each
// interval the choice of least loss is taken.
std::vector<Choice> spread_over(const std::vector<Choice>& front) {
  const double first = front.front().seconds, range = front.back().seconds - first;
  std::vector<Choice> selected;
  std::size_t next = 0;
  for (const Choice& choice : front) {
    const auto interval =
        static_cast<std::size_t>(range == 0 ? 0 : (choice.seconds - first) / range * (kFrontPoints - 1));
    if (interval < next) continue;
    selected.push_back(choice);
    next = interval + 1;
  }
  return selected;
}

// Fills in the plan's points: the one that fulfils the goal, a selection from the Pareto front, and one for each depth.
void choose_points(LatencyPlan& plan, const Graph& graph, const PlanGoal& goal) {
  const SegmentTable table(plan, graph);
  const int full_depth = depth(graph);
  const auto cells = static_cast<int>(plan.alphas.size());
  const std::vector<std::vector<Choice>> all = pareto_fronts(cells, table.segments());
  const std::vector<Choice> front = joint_pareto_front(all);
  const PlanPoint chosen = table.point(choose(goal.depth ? all[full_depth - *goal.depth] : front, plan.seconds, goal));

  std::map<std::string, PlanPoint> by_mask;
  const auto add = [&](PlanPoint point) -> PlanPoint& { return by_mask.emplace(point.mask, point).first->second; };
  add(chosen);
  for (const Choice& choice : spread_over(front)) add(table.point(choice));
  for (const std::vector<Choice>& depth : all)
    add(table.point(default_choice(depth, plan.seconds))).best_of_depth = true;
  for (auto& [mask, point] : by_mask) {
    point.depth = full_depth - static_cast<int>(std::count(mask.begin(), mask.end(), '.'));
    point.seconds = predicted_seconds(plan, point);
    plan.points.push_back(std::move(point));
  }
  std::stable_sort(plan.points.begin(), plan.points.end(),
                   [](const PlanPoint& a, const PlanPoint& b) { return a.seconds > b.seconds; });
  const auto position = std::find_if(plan.points.begin(), plan.points.end(),
                                     [&](const PlanPoint& point) { return point.mask == chosen.mask; });
  plan.chosen = static_cast<int>(position - plan.points.begin());
}

// Chooses one of the points again, by the second measurement.
void choose_again(LatencyPlan& plan, const PlanGoal& goal) {
  std::vector<Choice> choices;
  for (int i = 0; i < std::ssize(plan.points); ++i)
    choices.push_back({{i}, plan.points[i].loss, plan.points[i].seconds - plan.seconds});
  plan.chosen = choose(joint_pareto_front({choices}), plan.seconds, goal).segments[0];
}

}  // namespace

std::string fingerprint(const Graph& graph) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const unsigned char c : to_text(graph)) hash = (hash ^ c) * 1099511628211u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

LatencyPlan plan_by_latency(const Model& model, Borders borders, int max_kernel, const PlanGoal& goal,
                            const Stopwatch& stopwatch, const Losses& losses) {
  LatencyPlan plan{.graph = fingerprint(model.graph), .borders = borders, .max_kernel = max_kernel};
  for (const Foldable& cell : foldable_activations(model)) plan.alphas.push_back(cell.alpha);
  PLEAT_CHECK(!plan.alphas.empty(), "plan: the model has 0 foldable activations, expected at least 1");
  const int deepest = depth(model.graph), shallowest = deepest - static_cast<int>(plan.alphas.size());
  PLEAT_CHECK(!goal.depth || (*goal.depth >= shallowest && *goal.depth <= deepest), "plan: depth ",
              goal.depth.value_or(0), " was asked for, expected ", shallowest, " to ", deepest);
  std::set<int> candidates;
  for (DropRun& run : drop_runs(model, max_kernel)) {
    candidates.insert(static_cast<int>(plan.candidates.size()));
    plan.candidates.push_back({std::move(run)});
  }
  time_all(model, plan, candidates, stopwatch);
  fill_losses(plan, losses);
  choose_points(plan, model.graph, goal);

  // The points were chosen because their candidates seemed fast, some of them only by chance. So the candidates of the
  // points are measured again, together with the points themselves.
  candidates.clear();
  for (const PlanPoint& point : plan.points) {
    candidates.insert(point.dropped.begin(), point.dropped.end());
    candidates.insert(point.merged.begin(), point.merged.end());
  }
  time_all(model, plan, candidates, stopwatch);
  std::vector<std::string> masks;
  for (const PlanPoint& point : plan.points) masks.push_back(point.mask);
  const std::vector<double> loss = losses(masks);
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    plan.points[i].seconds = predicted_seconds(plan, plan.points[i]);
    plan.points[i].measured_loss = loss[i];
  }
  if (!goal.depth && !goal.min_speedup) choose_again(plan, goal);
  return plan;
}

double prediction_error(const LatencyPlan& plan) {
  double most = 0;
  for (const PlanPoint& point : plan.points)
    if (point.measured_seconds) most = std::max(most, std::abs(point.seconds / *point.measured_seconds - 1));
  return most;
}

Folded fold_point(const LatencyPlan& plan, const PlanPoint& point, const Model& model, FoldOptions options) {
  const std::string name = concat(plan.graph, ' ', point.mask);
  options.groups = point.groups;
  options.max_kernel = plan.max_kernel;
  if (const std::string graph = fingerprint(model.graph); graph == plan.graph) {
    options.mask = point.mask;
  } else {
    const auto note = model.notes.find("fold.plan");
    PLEAT_CHECK(note != model.notes.end(), "plan: the graph of this network is ", graph, ", expected ", plan.graph,
                ", or a network that was folded by the plan");
    PLEAT_CHECK(note->second == name, "plan: the model was folded by '", note->second, "', expected '", name, "'");
  }
  Folded folded = fold(model, options);
  folded.model.notes["fold.plan"] = name;
  return folded;
}

}  // namespace pleat
