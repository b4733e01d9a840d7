#include "fold/dynamic_programming.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

namespace pleat {
namespace {

constexpr std::size_t kMost = 500;

// Leaves the choices that no other beats, by ascending loss and so by descending seconds.
void prune(std::vector<Choice>& choices) {
  std::stable_sort(choices.begin(), choices.end(), [](const Choice& a, const Choice& b) {
    return std::tie(a.loss, a.seconds) < std::tie(b.loss, b.seconds);
  });
  double fastest = std::numeric_limits<double>::infinity();
  std::erase_if(choices, [&](const Choice& c) { return c.seconds >= fastest || (fastest = c.seconds, false); });
}

// Leaves the fastest of each of kMost equal parts of the range of losses.
void thin(std::vector<Choice>& choices) {
  if (choices.size() <= kMost) return;
  const double least = choices.front().loss, range = choices.back().loss - least;
  const auto part = [&](const Choice& c) { return static_cast<std::size_t>((c.loss - least) / range * kMost); };
  std::vector<Choice> few;
  for (Choice& choice : choices) {
    if (!few.empty() && part(few.back()) == part(choice)) few.pop_back();
    few.push_back(std::move(choice));
  }
  choices = std::move(few);
}

}  // namespace

std::vector<int> least_sum(const std::vector<Interval>& intervals) {
  int positions = 0;
  for (const Interval& interval : intervals) positions = std::max(positions, interval.last + 1);
  std::vector<double> best(positions + 1, 0);  // of the positions before p
  std::vector<int> taken(positions + 1, -1);   // the interval that ends at p, if it does best
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

std::vector<std::vector<Choice>> fronts(int cells, const std::vector<Segment>& segments) {
  const auto neighbours = [&](const Segment& a, const Segment& b) {
    return a.last_op < b.first_op && std::none_of(segments.begin(), segments.end(), [&](const Segment& s) {
             return s.first == a.first && s.last == b.last;
           });
  };
  // Choices for the cells before a position, by the segment that ends there (-1: none does) and the cells dropped.
  std::vector<std::map<std::pair<int, int>, std::vector<Choice>>> before(cells + 1);
  before[0][{-1, 0}].emplace_back();
  for (int p = 0; p < cells; ++p) {
    for (auto& [state, choices] : before[p]) {
      const auto [end, drops] = state;
      prune(choices);
      thin(choices);
      std::vector<Choice>& kept = before[p + 1][{-1, drops}];
      kept.insert(kept.end(), choices.begin(), choices.end());
      for (std::size_t s = 0; s < segments.size(); ++s) {
        const Segment& segment = segments[s];
        if (segment.first != p || (end >= 0 && !neighbours(segments[end], segment))) continue;
        std::vector<Choice>& more =
            before[segment.last + 1][{static_cast<int>(s), drops + segment.last - segment.first + 1}];
        for (Choice choice : choices) {
          choice.segments.push_back(static_cast<int>(s));
          choice.loss += segment.loss;
          choice.seconds += segment.seconds;
          more.push_back(std::move(choice));
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

std::vector<Choice> best_of(const std::vector<std::vector<Choice>>& fronts) {
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
    const double right = (front[i].loss - first.loss) / (last.loss - first.loss);
    const double down = (first.seconds - front[i].seconds) / (first.seconds - last.seconds);
    if (down - right <= farthest) continue;
    farthest = down - right;
    best = static_cast<int>(i);
  }
  return best;
}

}  // namespace pleat
