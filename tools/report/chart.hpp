// Line charts as SVG.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace pleat {

/// Points of one kind, by x.
struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< Those that are not finite are left out.
  enum class Look { line, dashed, points } look = Look::line;
  std::vector<std::string> labels = {};  ///< What is shown when the mouse is over a point; empty: its numbers.
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  /// Colours go from dark to bright over the series, which are ordered, instead of telling a few apart.
  bool ordered = false;
  bool y_from_zero = false;
};

/// The chart as an SVG element. All its texts are escaped. A chart without a point says so.
std::string draw(const Chart& chart);

}  // namespace pleat
