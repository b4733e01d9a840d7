// A batch is computed in pieces of a few pictures (ops/exec/batch_pieces.hpp says how many).
#pragma once

#include <cstdint>

namespace pleat {

/// The pictures [begin, begin + size) of a batch.
struct Piece {
  int64_t begin = 0, size = 0;
  bool operator==(const Piece&) const = default;
};

}  // namespace pleat
