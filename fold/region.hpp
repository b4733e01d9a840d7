// A run of linear nodes that is one linear map. fold/groups.hpp finds such regions, fold/border_correction.hpp says what
// merging one of them changes at the borders of the picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph.hpp"
#include "fold/linear_map.hpp"

namespace pleat {

/// A closed linear region: every node of it is linear and reads only `from` or the region, and nobody outside reads any
/// of it but `to`. So the value of `to` is one linear map of the value of `from`.
struct Region {
  int from = 0, to = 0;
  std::vector<int> nodes;  ///< In order; without `from`, the last is `to`.
  MapShape map = {};       ///< From `from` to `to`.
  bool pooled = false;     ///< Holds global pooling of a picture; the map is pointwise then, and follows the pooling.
  /// Output rows and columns of each side where the merged op gives something else than the region does now, because a
  /// padded op follows another, whose values past the border are not zero; and how far into the input that reads.
  Padding ring = {}, reach = {};
  int64_t macs_before = 0, macs_after = 0;
  int64_t macs_border = 0;  ///< Of what makes the merged op exact there (fold/border_correction.hpp).
  std::string stop;         ///< Why it ends at `to`.

  /// The merged op gives the same everywhere.
  bool exact() const { return ring == Padding{}; }
};

}  // namespace pleat
