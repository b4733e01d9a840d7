// A network as a picture: its ops, and below them those that remain after folding.
#pragma once

#include <string>

#include "tools/report/merged_groups.hpp"

namespace pleat {

/// The network before folding as SVG, with a line of explanation; below each of its lines the same after folding, if
/// anything was dropped or merged. A merged op has its group's colour and stands below it.
std::string draw(const FoldedNetwork& network);

}  // namespace pleat
