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
constexpr double kWorthwhile = 1.1;  // as much as a prediction may be off

std::string mask_of(std::size_t cells, const DropRun& run) {
  std::string mask(cells, '#');
  std::fill(mask.begin() + run.first, mask.begin() + run.last + 1, '.');
  return mask;
}

// Times the network, the candidates with these indices, dropped and merged, and the points, all in one go; fills in
// their seconds, in the scale of plan.seconds if that is known: the machine's speed changes.
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
    PLEAT_CHECK(std::isfinite(loss[i]), "plan: the loss of mask ", masks[i], " is no number");
    plan.candidates[i].loss = loss[i];
  }
}

// Predicts a point's seconds.
double sum_up(const LatencyPlan& plan, const PlanPoint& point) {
  double seconds = plan.seconds;
  for (const int i : point.dropped) seconds += plan.candidates[i].seconds - plan.seconds;
  for (const int i : point.merged) seconds += plan.candidates[i].merged_seconds - plan.candidates[i].seconds;
  if (seconds <= 0)
    throw std::runtime_error(concat("plan: mask ", point.mask, " would take ", 1e3 * seconds,
                                    " ms by the sum of what was measured\nhint: too noisy; measure longer (--seconds), "
                                    "or with nothing else running"));
  return seconds;
}

// Turns choices of candidates into points.
class Points {
 public:
  Points(const LatencyPlan& plan, const Graph& graph) : plan_(plan) {
    for (int whole = 0; whole < std::ssize(plan.candidates); ++whole) {
      const DropRun& run = plan.candidates[whole].run;
      std::vector<Merge> merges;
      for (int i = 0; i < std::ssize(plan.candidates); ++i) {
        const Candidate& part = plan.candidates[i];
        if (part.run.first < run.first || part.run.last > run.last || part.run.ops.empty()) continue;
        merges.push_back(
            {{find(graph, part.run.ops.front()), find(graph, part.run.ops.back()), part.merged_seconds - part.seconds},
             i});
      }
      add(whole, merges);
    }
  }

  const std::vector<Segment>& segments() const { return segments_; }

  PlanPoint point(const Choice& choice) const {
    PlanPoint point{.mask = std::string(plan_.alphas.size(), '#'), .groups = {}, .loss = choice.loss};
    for (const int s : choice.segments) {
      std::fill(point.mask.begin() + segments_[s].first, point.mask.begin() + segments_[s].last + 1, '.');
      point.dropped.push_back(whole_[s]);
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

  // The candidate with its best merges; and with the best that leave its first or last op to a neighbour.
  void add(int whole, const std::vector<Merge>& merges) {
    const Candidate& candidate = plan_.candidates[whole];
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
        for (const int i : least_sum({allowed.begin(), allowed.end()})) {
          segment.seconds += allowed[i].cost;
          segment.first_op = std::min(segment.first_op, allowed[i].first);
          segment.last_op = allowed[i].last;
          merged.push_back(allowed[i].candidate);
        }
        if (!known.insert(merged).second) continue;
        segments_.push_back(segment);
        whole_.push_back(whole);
        merged_.push_back(std::move(merged));
      }
  }

  const LatencyPlan& plan_;
  std::vector<Segment> segments_;
  std::vector<int> whole_;                // by segment: the candidate that it drops,
  std::vector<std::vector<int>> merged_;  // and those that are merged in it
};

// The knee of a front; but its least loss where even the fastest is not kWorthwhile times as fast as that, which may be
// noise.
const Choice& usual_choice(const std::vector<Choice>& front, double base) {
  const bool worthwhile = base + front.front().seconds >= kWorthwhile * (base + front.back().seconds);
  return front[worthwhile ? knee(front) : 0];
}

Choice choose(const std::vector<Choice>& front, double base, const PlanWish& wish) {
  const auto speedup = [&](const Choice& c) { return base / (base + c.seconds); };
  if (wish.max_loss) {
    PLEAT_CHECK(front.front().loss <= *wish.max_loss, "plan: nothing loses at most ", *wish.max_loss, "; the least is ",
                front.front().loss);
    return *std::find_if(front.rbegin(), front.rend(), [&](const Choice& c) { return c.loss <= *wish.max_loss; });
  }
  if (wish.min_speedup) {
    PLEAT_CHECK(speedup(front.back()) >= *wish.min_speedup, "plan: nothing is ", *wish.min_speedup,
                " times as fast; the most is ", speedup(front.back()));
    return *std::find_if(front.begin(), front.end(), [&](const Choice& c) { return speedup(c) >= *wish.min_speedup; });
  }
  return usual_choice(front, base);
}

// At most kFrontPoints of the front: its ends, and the least loss of equal steps of speed between.
std::vector<Choice> some_of(const std::vector<Choice>& front) {
  const double first = front.front().seconds, range = front.back().seconds - first;
  std::vector<Choice> some;
  std::size_t next = 0;
  for (const Choice& choice : front) {
    const auto step = static_cast<std::size_t>(range == 0 ? 0 : (choice.seconds - first) / range * (kFrontPoints - 1));
    if (step < next) continue;
    some.push_back(choice);
    next = step + 1;
  }
  return some;
}

void choose_points(LatencyPlan& plan, const Graph& graph, const PlanWish& wish) {
  const Points points(plan, graph);
  const int full_depth = depth(graph);
  const auto cells = static_cast<int>(plan.alphas.size());
  const std::vector<std::vector<Choice>> all = fronts(cells, points.segments());
  const std::vector<Choice> front = best_of(all);
  const PlanPoint chosen = points.point(choose(wish.depth ? all[full_depth - *wish.depth] : front, plan.seconds, wish));

  std::map<std::string, PlanPoint> by_mask;
  const auto add = [&](PlanPoint point) -> PlanPoint& { return by_mask.emplace(point.mask, point).first->second; };
  add(chosen);
  for (const Choice& choice : some_of(front)) add(points.point(choice));
  for (const std::vector<Choice>& depth : all)
    add(points.point(usual_choice(depth, plan.seconds))).best_of_depth = true;
  for (auto& [mask, point] : by_mask) {
    point.depth = full_depth - static_cast<int>(std::count(mask.begin(), mask.end(), '.'));
    point.seconds = sum_up(plan, point);
    plan.points.push_back(std::move(point));
  }
  std::stable_sort(plan.points.begin(), plan.points.end(),
                   [](const PlanPoint& a, const PlanPoint& b) { return a.seconds > b.seconds; });
  const auto at = std::find_if(plan.points.begin(), plan.points.end(),
                               [&](const PlanPoint& point) { return point.mask == chosen.mask; });
  plan.chosen = static_cast<int>(at - plan.points.begin());
}

// Chooses among the points by their second measurement.
void choose_again(LatencyPlan& plan, const PlanWish& wish) {
  std::vector<Choice> choices;
  for (int i = 0; i < std::ssize(plan.points); ++i)
    choices.push_back({{i}, plan.points[i].loss, plan.points[i].seconds - plan.seconds});
  plan.chosen = choose(best_of({choices}), plan.seconds, wish).segments[0];
}

}  // namespace

std::string fingerprint(const Graph& graph) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const unsigned char c : to_text(graph)) hash = (hash ^ c) * 1099511628211u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

LatencyPlan plan_by_latency(const Model& model, Borders borders, int max_kernel, const PlanWish& wish,
                            const Stopwatch& stopwatch, const Losses& losses) {
  LatencyPlan plan{.graph = fingerprint(model.graph), .borders = borders, .max_kernel = max_kernel};
  for (const Foldable& cell : foldable_activations(model)) plan.alphas.push_back(cell.alpha);
  PLEAT_CHECK(!plan.alphas.empty(), "plan: the model has no foldable activation");
  const int deepest = depth(model.graph), shallowest = deepest - static_cast<int>(plan.alphas.size());
  PLEAT_CHECK(!wish.depth || (*wish.depth >= shallowest && *wish.depth <= deepest), "plan: depth ",
              wish.depth.value_or(0), " asked for, expected ", shallowest, " to ", deepest);
  std::set<int> candidates;
  for (DropRun& run : drop_runs(model, max_kernel)) {
    candidates.insert(static_cast<int>(plan.candidates.size()));
    plan.candidates.push_back({std::move(run)});
  }
  time_all(model, plan, candidates, stopwatch);
  fill_losses(plan, losses);
  choose_points(plan, model.graph, wish);

  // Those were chosen that seemed fast, some by luck: what the points are made of is measured anew, beside them.
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
    plan.points[i].seconds = sum_up(plan, plan.points[i]);
    plan.points[i].measured_loss = loss[i];
  }
  if (!wish.depth && !wish.min_speedup) choose_again(plan, wish);
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
    PLEAT_CHECK(note != model.notes.end(), "the plan is for another network: its graph is ", plan.graph,
                ", this one's ", graph, ", and that was not folded by a plan");
    PLEAT_CHECK(note->second == name, "the model was folded by '", note->second, "', expected the plan's '", name, "'");
  }
  Folded folded = fold(model, options);
  folded.model.notes["fold.plan"] = name;
  return folded;
}

}  // namespace pleat
