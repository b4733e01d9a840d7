#include "fold/dynamic_programming.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

namespace pleat {
namespace {

constexpr std::size_t kMaxChoices = 500;  // in a list of partial choices

// Reduces the choices to their Pareto front, sorted by ascending loss and therefore by descending seconds.
void prune(std::vector<Choice>& choices) {
  std::stable_sort(choices.begin(), choices.end(), [](const Choice& a, const Choice& b) {
    return std::tie(a.loss, a.seconds) < std::tie(b.loss, b.seconds);
  });
  double fastest = std::numeric_limits<double>::infinity();
  std::erase_if(choices, [&](const Choice& c) { return c.seconds >= fastest || (fastest = c.seconds, false); });
}

// Divides the range of losses into kMaxChoices equal parts and keeps only the fastest choice of each.
void thin(std::vector<Choice>& choices) {
  if (choices.size() <= kMaxChoices) return;
  const double least = choices.front().loss, range = choices.back().loss - least;
  const auto part = [&](const Choice& c) { return static_cast<std::size_t>((c.loss - least) / range * kMaxChoices); };
  std::vector<Choice> kept;  // in a part, a later choice is faster
  for (Choice& choice : choices) {
    if (!kept.empty() && part(kept.back()) == part(choice)) kept.pop_back();
    kept.push_back(std::move(choice));
  }
  choices = std::move(kept);
}

}  // namespace

std::vector<int> cheapest_intervals(const std::vector<Interval>& intervals) {
  int positions = 0;
  for (const Interval& interval : intervals) positions = std::max(positions, interval.last + 1);
  std::vector<double> best(positions + 1, 0);  // best[p]: the least cost of the positions before p
  std::vector<int> taken(positions + 1, -1);   // the interval that ends before p in that solution; -1: none
  for (int p = 1; p <= positions; ++p) {
    best[p] = best[p - 1];
    for (std::size_t i = 0; i < intervals.size(); ++i) {
      if (intervals[i].last != p - 1) continue;
      const double cost = best[intervals[i].first] + intervals[i].cost;
      if (cost >= best[p]) continue;
      best[p] = cost;
      taken[p] = static_cast<int>(i);
    }
  }
  std::vector<int> chosen;
  for (int p = positions; p > 0;) {
    if (taken[p] < 0) {
      --p;
    } else {
      chosen.push_back(taken[p]);
      p = intervals[taken[p]].first;
    }
  }
  std::reverse(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<std::vector<Choice>> pareto_fronts(int cells, const std::vector<Segment>& segments) {
  const auto may_be_neighbours = [&](const Segment& a, const Segment& b) {
    return a.last_op < b.first_op && std::none_of(segments.begin(), segments.end(), [&](const Segment& s) {
             return s.first == a.first && s.last == b.last;
           });
  };
  // before[p]: the choices for the cells before position p, grouped by the segment that ends there (-1: none does) and
  // by the number of cells dropped. All that a choice allows from p on depends on these two only.
  std::vector<std::map<std::pair<int, int>, std::vector<Choice>>> before(cells + 1);
  before[0][{-1, 0}].emplace_back();
  for (int p = 0; p < cells; ++p) {
    for (auto& [state, choices] : before[p]) {
      const auto [end, dropped] = state;
      prune(choices);
      thin(choices);
      std::vector<Choice>& keeping_cell = before[p + 1][{-1, dropped}];
      keeping_cell.insert(keeping_cell.end(), choices.begin(), choices.end());
      for (std::size_t s = 0; s < segments.size(); ++s) {
        const Segment& segment = segments[s];
        if (segment.first != p || (end >= 0 && !may_be_neighbours(segments[end], segment))) continue;
        std::vector<Choice>& with_segment =
            before[segment.last + 1][{static_cast<int>(s), dropped + segment.last - segment.first + 1}];
        for (Choice choice : choices) {
          choice.segments.push_back(static_cast<int>(s));
          choice.loss += segment.loss;
          choice.seconds += segment.seconds;
          with_segment.push_back(std::move(choice));
        }
      }
    }
    before[p].clear();
  }
  std::vector<std::vector<Choice>> result(cells + 1);
  for (auto& [state, choices] : before[cells])
    result[state.second].insert(result[state.second].end(), choices.begin(), choices.end());
  for (std::vector<Choice>& choices : result) prune(choices);
  return result;
}

std::vector<Choice> joint_pareto_front(const std::vector<std::vector<Choice>>& fronts) {
  std::vector<Choice> all;
  for (const std::vector<Choice>& front : fronts) all.insert(all.end(), front.begin(), front.end());
  prune(all);
  return all;
}

int knee(const std::vector<Choice>& front) {
  int best = 0;
  double farthest = 0;
  const Choice &first = front.front(), &last = front.back();
  for (std::size_t i = 1; i + 1 < front.size(); ++i) {
    const double loss = (front[i].loss - first.loss) / (last.loss - first.loss);
    const double saved = (first.seconds - front[i].seconds) / (first.seconds - last.seconds);
    if (saved - loss <= farthest) continue;
    farthest = saved - loss;
    best = static_cast<int>(i);
  }
  return best;
}

}  // namespace pleat
