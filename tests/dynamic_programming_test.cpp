// Compares the dynamic programming of latency plans with trying every possibility.
#include "fold/dynamic_programming.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "core/rng.hpp"

using namespace pleat;

namespace {

// Small whole numbers, so that sums are exact and ties occur.
double whole(Rng& rng, int least, int most) {
  return least + static_cast<int>(rng.below(most - least + 1));
}

// Calls f with every set of disjoint items, given as indices from left to right.
template <class Item, class F>
void each_set(const std::vector<Item>& items, const F& f) {
  for (unsigned set = 0; set < 1u << items.size(); ++set) {
    std::vector<int> chosen;
    for (std::size_t i = 0; i < items.size(); ++i)
      if (set >> i & 1) chosen.push_back(static_cast<int>(i));
    std::sort(chosen.begin(), chosen.end(), [&](int a, int b) { return items[a].first < items[b].first; });
    bool disjoint = true;
    for (std::size_t i = 1; i < chosen.size(); ++i)
      disjoint = disjoint && items[chosen[i - 1]].last < items[chosen[i]].first;
    if (disjoint) f(chosen);
  }
}

}  // namespace

TEST_CASE("Pareto front: cheapest_intervals finds the same sum as trying every set") {
  Rng rng(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<Interval> intervals;
    const int count = static_cast<int>(rng.below(9));
    for (int i = 0; i < count; ++i) {
      const int first = static_cast<int>(rng.below(8));
      intervals.push_back({first, first + static_cast<int>(rng.below(4)), whole(rng, -9, 4)});
    }
    const auto cost = [&](const std::vector<int>& chosen) {
      double sum = 0;
      for (const int i : chosen) sum += intervals[i].cost;
      return sum;
    };
    double least = 0;
    each_set(intervals, [&](const std::vector<int>& chosen) { least = std::min(least, cost(chosen)); });
    const std::vector<int> found = cheapest_intervals(intervals);
    CHECK(cost(found) == least);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(intervals[found[i]].cost < 0);
      if (i > 0) CHECK(intervals[found[i - 1]].last < intervals[found[i]].first);
    }
  }
  CHECK(cheapest_intervals({}).empty());
}

TEST_CASE("Pareto front: the choices are those found by trying every set") {
  Rng rng(2);
  for (int round = 0; round < 200; ++round) {
    const int cells = 1 + static_cast<int>(rng.below(6));
    std::vector<Segment> segments;
    std::set<std::pair<int, int>> runs;
    for (int first = 0; first < cells; ++first)
      for (int last = first; last < std::min(cells, first + 3); ++last)
        if (first == last || rng.below(2) == 0) {
          segments.push_back({first, last, whole(rng, 0, 9), whole(rng, -9, 3)});
          // Op i is the one before cell i.
          if (rng.below(2) == 0) {
            segments.back().first_op = first + static_cast<int>(rng.below(2));
            segments.back().last_op = last + static_cast<int>(rng.below(2));
          }
          runs.insert({first, last});
        }
    if (segments.size() > 12) continue;

    using Numbers = std::pair<double, double>;  // loss, seconds
    std::vector<std::vector<Numbers>> all(cells + 1);
    each_set(segments, [&](const std::vector<int>& chosen) {
      Numbers sum{0, 0};
      int drops = 0;
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        const Segment& s = segments[chosen[i]];
        if (i > 0 && segments[chosen[i - 1]].last + 1 == s.first) {
          const Segment& before = segments[chosen[i - 1]];
          if (runs.contains({before.first, s.last}) || before.last_op >= s.first_op) return;
        }
        sum.first += s.loss;
        sum.second += s.seconds;
        drops += s.last - s.first + 1;
      }
      all[drops].push_back(sum);
    });
    const auto unbeaten = [](const std::vector<Numbers>& sums) {
      std::set<Numbers> best;
      for (const Numbers& a : sums)
        if (std::none_of(sums.begin(), sums.end(),
                         [&](const Numbers& b) { return b != a && b.first <= a.first && b.second <= a.second; }))
          best.insert(a);
      return std::vector<Numbers>(best.begin(), best.end());
    };
    const auto numbers = [&](const std::vector<Choice>& front) {
      std::vector<Numbers> result;
      for (const Choice& choice : front) {
        result.emplace_back(choice.loss, choice.seconds);
        Numbers sum{0, 0};
        for (const int s : choice.segments) sum.first += segments[s].loss, sum.second += segments[s].seconds;
        CHECK(result.back() == sum);
      }
      return result;
    };

    const std::vector<std::vector<Choice>> found = pareto_fronts(cells, segments);
    REQUIRE(found.size() == all.size());
    std::vector<Numbers> together;
    for (int drops = 0; drops <= cells; ++drops) {
      CAPTURE(drops);
      CHECK(numbers(found[drops]) == unbeaten(all[drops]));
      together.insert(together.end(), all[drops].begin(), all[drops].end());
    }
    CHECK(numbers(joint_pareto_front(found)) == unbeaten(together));
  }
}

TEST_CASE("Pareto front: for long chains it keeps its ends and stays short") {
  Rng rng(3);
  std::vector<Segment> segments;
  double loss = 0, seconds = 0;
  for (int i = 0; i < 54; ++i) {
    segments.push_back({i, i, rng.uniform(), -rng.uniform()});
    loss += segments.back().loss;
    seconds += segments.back().seconds;
  }
  const std::vector<Choice> front = joint_pareto_front(pareto_fronts(54, segments));
  CHECK(front.front().segments.empty());
  CHECK(front.back().segments.size() == 54);
  CHECK(front.back().loss == doctest::Approx(loss));
  CHECK(front.back().seconds == doctest::Approx(seconds));
  for (std::size_t i = 1; i < front.size(); ++i) {
    CHECK(front[i - 1].loss < front[i].loss);
    CHECK(front[i - 1].seconds > front[i].seconds);
  }
}

TEST_CASE("Pareto front: the knee is where it bends") {
  const auto front = [](const std::vector<std::pair<double, double>>& points) {
    std::vector<Choice> choices;
    for (const auto& [loss, seconds] : points) choices.push_back({{}, loss, seconds});
    return choices;
  };
  CHECK(knee(front({{0, 0}})) == 0);
  CHECK(knee(front({{0, 0}, {5, -5}})) == 0);
  CHECK(knee(front({{0, 0}, {1, -8}, {2, -9}, {10, -10}})) == 1);
  CHECK(knee(front({{0, 0}, {100, -8}, {120, -90}, {1000, -100}})) == 2);
  CHECK(knee(front({{0, 0}, {9, -1}, {10, -10}})) == 0);  // this front bends the other way
}
