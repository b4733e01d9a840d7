// A report: one HTML page, complete in itself, of runs, experiments, models, plans and results.
#pragma once

#include <string>
#include <vector>

namespace pleat {

/// The page about the inputs, each a folder of a training run or of `pleat curve`, or a file: a model, a log, a
/// curve.json, a plan, or what a command printed with --json. A model that was folded is drawn beside the one among the
/// inputs that it came from, if there is one. The page holds its pictures (SVG) and styles, asks for nothing from
/// anywhere, and has no scripts. Throws std::runtime_error naming the input that cannot be read or is none of these.
std::string make_report(const std::vector<std::string>& inputs);

}  // namespace pleat
