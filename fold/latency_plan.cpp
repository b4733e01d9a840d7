#include "fold/latency_plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <set>

#include "core/check.hpp"
#include "fold/front.hpp"
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

std::vector<Candidate> measure(const Model& model, LatencyPlan& plan, const Stopwatch& stopwatch,
                               const Losses& losses) {
  std::vector<Candidate> candidates;
  struct Network {
    int candidate;
    bool merged;
  };
  std::vector<Network> networks;
  for (DropRun& run : drop_runs(model, plan.max_kernel)) {
    const int i = static_cast<int>(candidates.size());
    networks.push_back({i, false});
    if (!run.ops.empty()) networks.push_back({i, true});
    candidates.push_back({std::move(run)});
  }
  const auto network = [&](int i) {
    if (i == 0) return model;
    const DropRun& run = candidates[networks[i - 1].candidate].run;
    const std::string mask = mask_of(plan.alphas.size(), run);
    if (!networks[i - 1].merged) return drop_activations(model, mask);
    return fold(model, {.mask = mask, .groups = {{run.ops}}, .max_kernel = plan.max_kernel, .borders = plan.borders})
        .model;
  };
  const std::vector<double> seconds = stopwatch(static_cast<int>(networks.size()) + 1, network);
  plan.seconds = seconds[0];
  for (std::size_t i = 0; i < networks.size(); ++i) {
    Candidate& candidate = candidates[networks[i].candidate];
    if (!networks[i].merged) candidate.seconds = seconds[i + 1];
    candidate.merged_seconds = seconds[i + 1];
  }
  std::vector<std::string> masks;
  for (const Candidate& candidate : candidates) masks.push_back(mask_of(plan.alphas.size(), candidate.run));
  const std::vector<double> loss = losses(masks);
  for (std::size_t i = 0; i < loss.size(); ++i) {
    PLEAT_CHECK(std::isfinite(loss[i]), "plan: the loss of mask ", masks[i], " is no number");
    candidates[i].loss = loss[i];
  }
  return candidates;
}

// Turns choices of candidates into points.
class Points {
 public:
  Points(const LatencyPlan& plan, const Graph& graph) : plan_(plan) {
    for (const Candidate& candidate : plan.candidates) {
      std::vector<Merge> merges;
      for (const Candidate& part : plan.candidates)
        if (part.run.first >= candidate.run.first && part.run.last <= candidate.run.last && !part.run.ops.empty())
          merges.push_back({{find(graph, part.run.ops.front()), find(graph, part.run.ops.back()),
                             part.merged_seconds - part.seconds},
                            &part});
      add(candidate, merges);
    }
  }

  const std::vector<Segment>& segments() const { return segments_; }

  PlanPoint point(const Choice& choice) const {
    PlanPoint point{std::string(plan_.alphas.size(), '#'), {}, 0, choice.loss, plan_.seconds + choice.seconds};
    for (const int s : choice.segments) {
      std::fill(point.mask.begin() + segments_[s].first, point.mask.begin() + segments_[s].last + 1, '.');
      point.groups.insert(point.groups.end(), groups_[s].begin(), groups_[s].end());
    }
    return point;
  }

 private:
  struct Merge : Interval {
    const Candidate* candidate;
  };

  // The candidate with its best merges; and with the best that leave its first or last op to a neighbour.
  void add(const Candidate& candidate, const std::vector<Merge>& merges) {
    int first = std::numeric_limits<int>::max(), last = -1;
    for (const Merge& merge : merges) first = std::min(first, merge.first), last = std::max(last, merge.last);
    std::set<std::vector<OpNames>> known;
    for (const bool leave_first : {false, true})
      for (const bool leave_last : {false, true}) {
        std::vector<Merge> allowed = merges;
        std::erase_if(allowed, [&](const Merge& merge) {
          return (leave_first && merge.first == first) || (leave_last && merge.last == last);
        });
        Segment segment{candidate.run.first, candidate.run.last, candidate.loss, candidate.seconds - plan_.seconds};
        std::vector<OpNames> groups;
        for (const int i : least_sum({allowed.begin(), allowed.end()})) {
          segment.seconds += allowed[i].cost;
          segment.first_op = std::min(segment.first_op, allowed[i].first);
          segment.last_op = allowed[i].last;
          groups.push_back(allowed[i].candidate->run.ops);
        }
        if (!known.insert(groups).second) continue;
        segments_.push_back(segment);
        groups_.push_back(std::move(groups));
      }
  }

  const LatencyPlan& plan_;
  std::vector<Segment> segments_;
  std::vector<std::vector<OpNames>> groups_;  // merged in each segment
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
    if (point.seconds <= 0)
      throw std::runtime_error(concat("plan: mask ", mask, " would take ", 1e3 * point.seconds,
                                      " ms by the sum of what was measured\nhint: too noisy; measure longer "
                                      "(--seconds), or with nothing else running"));
    point.depth = full_depth - static_cast<int>(std::count(mask.begin(), mask.end(), '.'));
    plan.points.push_back(std::move(point));
  }
  std::stable_sort(plan.points.begin(), plan.points.end(),
                   [](const PlanPoint& a, const PlanPoint& b) { return a.seconds > b.seconds; });
  const auto at = std::find_if(plan.points.begin(), plan.points.end(),
                               [&](const PlanPoint& point) { return point.mask == chosen.mask; });
  plan.chosen = static_cast<int>(at - plan.points.begin());
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
  plan.candidates = measure(model, plan, stopwatch, losses);
  choose_points(plan, model.graph, wish);

  const std::vector<double> seconds = stopwatch(static_cast<int>(plan.points.size()) + 1, [&](int i) {
    return i == 0 ? model : fold_point(plan, plan.points[i - 1], model, {.borders = borders}).model;
  });
  std::vector<std::string> masks;
  for (const PlanPoint& point : plan.points) masks.push_back(point.mask);
  const std::vector<double> loss = losses(masks);
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    // In the first measurement's scale: the machine's speed may have changed.
    plan.points[i].measured_seconds = seconds[i + 1] / seconds[0] * plan.seconds;
    plan.points[i].measured_loss = loss[i];
  }
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
