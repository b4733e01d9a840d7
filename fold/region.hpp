// A region of a graph whose nodes together are one linear map. fold/groups.hpp finds regions, and
// fold/border_correction.hpp says what merging one of them changes at the borders of the picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "fold/linear_map.hpp"

namespace pleat {

/// A closed linear region: every node in it is linear and reads only `from` or nodes of the region, and only the output
/// `to` is read by nodes outside. So the value of `to` is a linear map of the value of `from`.
struct Region {
  int from = 0, to = 0;    ///< The nodes that give the input and the output.
  std::vector<int> nodes;  ///< In network order. `from` is not among them, and the last one is `to`.
  MapShape map = {};       ///< The map from `from` to `to`.
  bool pooled = false;     ///< Whether it contains the global pooling of a picture. The map is pointwise then.
  /// The ring: how many output rows and columns on each side differ from what the merged op gives, because an op inside
  /// the region pads a value with zeros. The reach: how far from each side the ring's values read the input.
  Padding ring = {}, reach = {};
  int64_t macs_before = 0, macs_after = 0;  ///< Of the region as it is, and of the merged op.
  int64_t macs_border = 0;                  ///< Of the op that corrects the borders (fold/border_correction.hpp).
  std::string stop;                         ///< Why the region ends at `to`.

  /// Whether the merged op gives the same everywhere, so that nothing need be corrected.
  bool exact() const { return ring == Padding{}; }
};

}  // namespace pleat
