#include "tools/report/chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <limits>

#include "core/check.hpp"
#include "tools/report/html.hpp"

namespace pleat {
namespace {

constexpr double kWidth = 720, kHeight = 330, kLeft = 72, kRight = 14, kTop = 34, kBottom = 48;
constexpr std::size_t kMostInLegend = 8, kMostMarks = 60;
constexpr std::array kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                 "#56b4e9", "#e69f00", "#666666", "#000000"};

// The range of an axis, and where its numbers stand.
struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -low, step = 1;
  int digits = 0;

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }

  // Widens the range to multiples of a step of 1, 2 or 5 times a power of ten, about `count` of them.
  void round(int count) {
    if (high == low) {  // one value: a range around it
      const double margin = low == 0 ? 1 : std::abs(low) / 20;
      low -= margin, high += margin;
    }
    const double raw = (high - low) / count, power = std::pow(10, std::floor(std::log10(raw)));
    step = power * (raw / power > 5 ? 10 : raw / power > 2 ? 5 : raw / power > 1 ? 2 : 1);
    low = std::floor(low / step + 1e-9) * step;
    high = std::ceil(high / step - 1e-9) * step;
    digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
  }
};

struct Plot {
  Axis x, y;
  double px(double value) const { return kLeft + (value - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); }
  double py(double value) const {
    return kHeight - kBottom - (value - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  }
};

bool is_finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

std::string text(double x, double y, const char* attributes, const std::string& words) {
  return concat("<text x='", x, "' y='", y, "' ", attributes, ">", html_text(words), "</text>\n");
}

std::string grid(const Chart& chart, const Plot& plot) {
  std::string svg;
  const auto ticks = [](const Axis& axis) { return static_cast<int>(std::lround((axis.high - axis.low) / axis.step)); };
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (int i = 0; i <= ticks(plot.x); ++i) {
    const double value = plot.x.low + i * plot.x.step, x = plot.px(value);
    svg += concat("<line class='grid' x1='", x, "' y1='", kTop, "' x2='", x, "' y2='", bottom, "'/>\n");
    svg += text(x, bottom + 18, "text-anchor='middle'", fixed(value, plot.x.digits));
  }
  for (int i = 0; i <= ticks(plot.y); ++i) {
    const double value = plot.y.low + i * plot.y.step, y = plot.py(value);
    svg += concat("<line class='grid' x1='", kLeft, "' y1='", y, "' x2='", right, "' y2='", y, "'/>\n");
    svg += text(kLeft - 7, y + 4, "text-anchor='end'", fixed(value, plot.y.digits));
  }
  svg += text((kLeft + right) / 2, kHeight - 8, "text-anchor='middle' class='label'", chart.x_label);
  svg += concat("<g transform='translate(14,", (kTop + bottom) / 2, ") rotate(-90)'>",
                text(0, 0, "text-anchor='middle' class='label'", chart.y_label), "</g>\n");
  return svg;
}

// From blue over green to orange, or one of a few that can be told apart.
std::string colour(const Chart& chart, std::size_t i) {
  if (!chart.ordered) return kColours[i % kColours.size()];
  const double part =
      chart.series.size() > 1 ? static_cast<double>(i) / static_cast<double>(chart.series.size() - 1) : 0;
  return concat("hsl(", std::lround(250 - 225 * part), ",70%,", std::lround(38 + 12 * part), "%)");
}

std::string curve(const Chart& chart, std::size_t i, const Plot& plot) {
  const Series& series = chart.series[i];
  std::string path, marks;
  const bool marked = series.look == Series::Look::points || series.points.size() <= kMostMarks;
  for (std::size_t p = 0; p < series.points.size(); ++p) {
    if (!is_finite(series.points[p])) continue;
    const double x = plot.px(series.points[p].first), y = plot.py(series.points[p].second);
    path += concat(path.empty() ? "M" : "L", std::fixed, std::setprecision(1), x, ' ', y);
    if (!marked) continue;
    const std::string label = p < series.labels.size() ? series.labels[p]
                                                       : concat(series.name, ": ", plain(series.points[p].first), ", ",
                                                                plain(series.points[p].second));
    marks +=
        concat("<circle cx='", std::fixed, std::setprecision(1), x, "' cy='", y, "' r='",
               series.look == Series::Look::points ? 4.0 : 2.4, "'><title>", html_text(label), "</title></circle>\n");
  }
  const std::string shade = colour(chart, i);
  std::string svg = concat("<g fill='", shade, "'>", marks, "</g>\n");
  if (series.look == Series::Look::points) return svg;
  return concat("<path class='curve' stroke='", shade,
                series.look == Series::Look::dashed ? "' stroke-dasharray='5 4" : "", "' d='", path, "'><title>",
                html_text(series.name), "</title></path>\n", svg);
}

// Names with their colours, in one line above the chart; of many ordered series the first and the last.
std::string legend(const Chart& chart) {
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < chart.series.size(); ++i)
    if (chart.series.size() <= kMostInLegend || i == 0 || i + 1 == chart.series.size()) shown.push_back(i);
  if (chart.series.size() < 2) return "";
  std::string html = "<div class='legend'>";
  for (const std::size_t i : shown)
    html += concat("<span><i style='background:", colour(chart, i), "'></i>", html_text(chart.series[i].name),
                   shown.size() < chart.series.size() && i == 0 ? " … " : "", "</span> ");
  return html + "</div>\n";
}

}  // namespace

std::string draw(const Chart& chart) {
  Plot plot;
  for (const Series& series : chart.series)
    for (const auto& point : series.points)
      if (is_finite(point)) plot.x.add(point.first), plot.y.add(point.second);
  const std::string head = "<figure><figcaption>" + html_text(chart.title) + "</figcaption>\n";
  if (plot.x.empty()) return head + "<p>No point of this has been measured.</p></figure>\n";
  if (chart.y_from_zero) plot.y.add(0);
  plot.x.round(8);
  plot.y.round(6);
  std::string svg = concat("<svg class='chart' viewBox='0 18 ", kWidth, ' ', kHeight - 18, "' role='img' aria-label='",
                           html_text(chart.title), "'>\n", grid(chart, plot));
  for (std::size_t i = 0; i < chart.series.size(); ++i) svg += curve(chart, i, plot);
  return head + legend(chart) + svg + "</svg></figure>\n";
}

}  // namespace pleat
