// Prints what a fold did: as a table for people and as JSON for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>

#include "fold/fold.hpp"

namespace pleat {

/// Prints a table: each foldable activation with what became of it and its group, then the groups without a foldable
/// activation inside, then the measured latencies and the fits if there are any.
void print_fold_report(std::ostream& out, const FoldReport& report);

/// A JSON object with the fields activations, groups, timed and fits.
nlohmann::ordered_json to_json(const FoldReport& report);

}  // namespace pleat
