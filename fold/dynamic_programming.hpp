// Choosing by dynamic programming along a chain of cells (foldable activations), on plain numbers.
#pragma once

#include <limits>
#include <vector>

namespace pleat {

/// Positions first to last, and what taking them together costs.
struct Interval {
  int first = 0, last = 0;
  double cost = 0;
};

/// Indices of disjoint intervals of least total cost, in order; positions in none cost nothing, so no cost above 0 is
/// taken. Positions are counted from 0.
std::vector<int> least_sum(const std::vector<Interval>& intervals);

/// Cells first to last dropped together: the accuracy (in any unit) that it loses and the seconds that it adds to the
/// network's (below 0 where it gets faster) if certain ops are merged, of which the first and the last count against
/// neighbours: in a plain chain an op between two cells may be merged with that before or that after.
struct Segment {
  int first = 0, last = 0;
  double loss = 0, seconds = 0;
  int first_op = std::numeric_limits<int>::max(), last_op = -1;  ///< Those merge nothing.
};

/// Segments taken together; their numbers add up.
struct Choice {
  std::vector<int> segments;  ///< Indices, in order.
  double loss = 0, seconds = 0;
};

/// For each number of dropped cells, 0 to `cells`, the choices than which no other with that number has less loss and
/// no more seconds or less seconds and no more loss; by ascending loss. Segments are disjoint, and two may only be
/// neighbours if the run of both is not a segment itself (whose loss is known better than by the sum) and no op is
/// merged in both. Exact until a
/// list would hold more than 500: then choices of nearly the same loss are represented by their fastest.
std::vector<std::vector<Choice>> fronts(int cells, const std::vector<Segment>& segments);

/// The choices of all lists that no other of any list beats, by ascending loss.
std::vector<Choice> best_of(const std::vector<std::vector<Choice>>& fronts);

/// Index of a front's knee, where more loss begins to bring little: the choice farthest below the straight line from
/// the first to the last, both axes scaled to these two. The first of a front that has no point below it.
int knee(const std::vector<Choice>& front);

}  // namespace pleat
