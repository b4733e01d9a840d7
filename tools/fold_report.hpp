// A fold, for people and for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>

#include "fold/fold.hpp"

namespace pleat {

/// Each foldable activation with its fate and its group; the groups without one; what was timed.
void print_plan(std::ostream& out, const FoldPlan& plan);

/// activations, groups, timed.
nlohmann::ordered_json to_json(const FoldPlan& plan);

}  // namespace pleat
