// The parts of a report, one for each kind of input. Each is HTML and has everything escaped that comes from files.
// They throw std::runtime_error naming the file that they cannot read.
#pragma once

#include <string>

#include "core/model.hpp"
#include "tools/report/json_file.hpp"
#include "tools/report/merged_groups.hpp"

namespace pleat {

/// An experiment of `pleat curve`: what was asked for, the curve, the epochs, every depth, and the network before and
/// after. `folder` holds its models and logs; empty if there is only the curve.json at `file`.
std::string curve_section(const std::string& file, const std::string& folder);

/// The log of a run, a line an epoch.
std::string log_section(const std::string& file);

/// A model: how it was made, its sizes and its alphas, and the network itself; beside `before`, the network that it was
/// folded from, if that is not null.
std::string model_section(const Model& model, const Model* before);

/// A plan of `pleat plan`, given as the object in its file.
std::string plan_section(const Json& plan);

/// What a command printed with --json, such as verify's numbers or latencies: an object with "command" and "version".
std::string result_section(const Json& result);

/// What was merged, a row for each group, as HTML; empty if there is none.
std::string groups_table(const FoldedNetwork& network);

}  // namespace pleat
