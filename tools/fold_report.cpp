#include "tools/fold_report.hpp"

#include <iomanip>
#include <nlohmann/json.hpp>

#include "core/check.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

// The kernel sizes before and after merging, such as "3+3 -> 5".
std::string kernel_text(const GroupRow& group) {
  std::string text;
  for (const int side : group.kernels) text += concat(text.empty() ? "" : "+", side);
  return concat(text, " -> ", group.kernel);
}

// What became of a group's borders, to be read behind the reason why the group ends.
const char* border_text(GroupRow::Border border) {
  switch (border) {
    case GroupRow::Border::same:
      return "";
    case GroupRow::Border::moved:
      return "; padding moved";
    case GroupRow::Border::bias:
      return "; border biases";
    case GroupRow::Border::kernels:
      return "; border kernels";
    case GroupRow::Border::fitted:
      return "; fitted";
  }
  return "";
}

// The widths of the columns that hold text.
struct Columns {
  explicit Columns(const FoldReport& report) {
    const auto widen = [](int& width, const std::string& text) {
      width = std::max(width, static_cast<int>(text.size()));
    };
    for (const ActivationRow& row : report.activations) widen(activation, row.alpha);
    for (const GroupRow& row : report.groups) widen(group, row.op), widen(kernels, kernel_text(row));
  }
  int activation = 10, group = 5, kernels = 7;
};

void print_group(std::ostream& out, const Columns& columns, const GroupRow& group, const std::string& stop) {
  out << std::left << std::setw(columns.group + 2) << group.op << std::setw(columns.kernels) << kernel_text(group)
      << std::right << std::setw(13) << group.macs_before << std::setw(12) << group.macs_after
      << (stop.empty() ? "" : "  ") << stop << '\n';
}

void print_timed(std::ostream& out, const MergeChoice& timed) {
  out << "\nms more than " << 1e3 * timed.base << " when merged alone\n";
  for (const TimedGroup& group : timed.groups) {
    out << std::setw(8) << std::showpos << 1e3 * group.seconds << std::noshowpos
        << (group.merged ? "  merged  " : "  left    ") << "kernel " << group.kernel << "  ";
    for (const std::string& op : group.ops) out << (&op == &group.ops.front() ? "" : ", ") << op;
    out << '\n';
  }
}

void print_fits(std::ostream& out, const std::vector<FittedGroup>& fits) {
  out << "\nunexplained  by the fitted convolution, of its output's variance\n";
  for (const FittedGroup& fit : fits)
    out << std::right << std::setw(10) << std::fixed << std::setprecision(2) << 100 * fit.unexplained << "%  " << fit.op
        << '\n';
}

}  // namespace

void print_fold_report(std::ostream& out, const FoldReport& report) {
  const Columns columns(report);
  out << std::left << std::setw(columns.activation) << "activation"
      << "  alpha  fate     " << std::setw(columns.group + 2) << "group" << std::setw(columns.kernels) << "kernels"
      << "  MACs before       after  ends at\n";
  std::vector<bool> shown(report.groups.size());
  for (const ActivationRow& row : report.activations) {
    out << std::left << std::setw(columns.activation) << row.alpha << std::right << std::fixed << std::setprecision(3)
        << std::setw(7) << row.value << (row.kept ? "  kept" : "  dropped  ");
    if (row.kept) {
      out << '\n';
    } else if (row.group < 0) {
      out << "none: " << row.stop << '\n';
    } else {
      const GroupRow& group = report.groups[row.group];
      print_group(out, columns, group, group.stop + border_text(group.border));
      shown[row.group] = true;
    }
  }
  // Groups without a dropped activation inside; most of them are batch norms with their convolutions.
  for (std::size_t g = 0, first = 1; g < report.groups.size(); ++g) {
    if (shown[g]) continue;
    if (first) out << "\nwithout a dropped activation between them\n";
    first = 0;
    out << "  ";
    print_group(out, columns, report.groups[g], "");
  }
  if (!report.timed.groups.empty()) print_timed(out, report.timed);
  if (!report.fits.empty()) print_fits(out, report.fits);
  out.unsetf(std::ios::fixed);
}

Json to_json(const FoldReport& report) {
  Json activations = Json::array(), groups = Json::array(), timed = Json::array(), fits = Json::array();
  for (const ActivationRow& row : report.activations)
    activations.push_back({{"alpha", row.alpha},
                           {"value", row.value},
                           {"kept", row.kept},
                           {"group", row.group >= 0 ? Json(report.groups[row.group].op) : Json()},
                           {"stop", row.stop}});
  for (const GroupRow& group : report.groups)
    groups.push_back({{"op", group.op},
                      {"from", group.from},
                      {"to", group.to},
                      {"kernels", group.kernels},
                      {"kernel", group.kernel},
                      {"macs_before", group.macs_before},
                      {"macs_after", group.macs_after},
                      {"border", name(group.border)},
                      {"stop", group.stop}});
  for (const TimedGroup& group : report.timed.groups)
    timed.push_back(
        {{"ops", group.ops}, {"kernel", group.kernel}, {"added_ms", 1e3 * group.seconds}, {"merged", group.merged}});
  for (const FittedGroup& fit : report.fits) fits.push_back({{"op", fit.op}, {"unexplained", fit.unexplained}});
  return {{"activations", activations}, {"groups", groups}, {"timed", timed}, {"fits", fits}};
}

}  // namespace pleat
