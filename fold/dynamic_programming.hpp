// The dynamic programming of latency plans. The foldable activations of a network are a chain of cells, and measured
// runs of cells have costs that add up; which runs to take together is a shortest-path problem along the chain. This
// file works on plain numbers and knows no networks; fold/latency_plan.cpp translates between the two.
#pragma once

#include <limits>
#include <vector>

namespace pleat {

/// The positions `first` to `last` of the chain, both included, and the cost of taking them together.
struct Interval {
  int first = 0, last = 0;
  double cost = 0;
};

/// Chooses disjoint intervals so that the sum of their costs is least, and returns their indices from left to right. A
/// position outside all chosen intervals costs 0, so an interval with a positive cost is never chosen.
std::vector<int> cheapest_intervals(const std::vector<Interval>& intervals);

/// The cells `first` to `last` dropped together, with certain ops merged.
struct Segment {
  int first = 0, last = 0;
  double loss = 0;     ///< What dropping the cells loses, in any unit.
  double seconds = 0;  ///< What it adds to the time of the network; negative if the network gets faster.
  /// The first and the last op that the segment merges; the defaults stand for a segment that merges none. Two
  /// neighbouring segments cannot both merge the op between them.
  int first_op = std::numeric_limits<int>::max(), last_op = -1;
};

/// A set of segments taken together. Their losses and their seconds add up.
struct Choice {
  std::vector<int> segments;  ///< Indices, from left to right.
  double loss = 0, seconds = 0;
};

/// Returns one Pareto front for each number of dropped cells from 0 to `cells`: the choices with that number of cells
/// than which no other is better in loss or seconds and at least as good in the other, by ascending loss. The segments
/// of a choice are disjoint. Two of them may only be neighbours if no op is merged in both, and if there is no segment
/// for both runs of cells together, whose measured loss is more accurate than the sum. The fronts are exact as long as
/// no list of partial choices has more than 500 elements; in a longer one, only the fastest of those with nearly equal
/// losses is kept.
std::vector<std::vector<Choice>> pareto_fronts(int cells, const std::vector<Segment>& segments);

/// The Pareto front of the choices of all these fronts together, by ascending loss.
std::vector<Choice> joint_pareto_front(const std::vector<std::vector<Choice>>& fronts);

/// The index of a front's knee, from which on more loss saves little time. It is the choice farthest below the straight
/// line from the first choice to the last, with both axes scaled to that line's extent, or the first choice if none is
/// below the line.
int knee(const std::vector<Choice>& front);

}  // namespace pleat
