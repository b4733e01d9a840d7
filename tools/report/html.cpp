#include "tools/report/html.hpp"

#include <cmath>
#include <iomanip>
#include <sstream>

#include "core/check.hpp"
#include "tools/escaped.hpp"

namespace pleat {

std::string html_text(const std::string& text) {
  std::string result;
  for (const char c : escaped(text)) switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  return result;
}

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  return concat(std::fixed, std::setprecision(digits), value);
}

std::string count_text(double count) {
  std::string text = fixed(count, 0);
  for (std::ptrdiff_t i = std::ssize(text) - 3; i > (text[0] == '-' ? 1 : 0); i -= 3) text.insert(i, "\u202f");
  return text;
}

std::string plain(double value) {
  return std::isfinite(value) ? concat(value) : "–";
}

std::string scientific(double value) {
  return std::isfinite(value) ? concat(std::scientific, std::setprecision(1), value) : "–";
}

std::string change(const std::string& before, const std::string& after) {
  return before == after ? after : before + " → " + after;
}

std::string mask_cells(const std::string& mask) {
  std::string cells;
  for (const char c : mask) {
    PLEAT_CHECK(c == '#' || c == '.', "mask '", mask, "': got '", c, "', expected '#' or '.'");
    cells += c == '#' ? "<i></i>" : "<b></b>";
  }
  return "<span class='mask' title='" + mask + "'>" + cells + "</span>";
}

std::string command_box(const std::string& command) {
  return "<pre>" + html_text(command) + "</pre>\n";
}

std::string details(const std::string& summary, const std::string& body, bool open) {
  return concat("<details", open ? " open" : "", "><summary>", html_text(summary), "</summary>\n", body,
                "</details>\n");
}

void Table::row(const std::vector<std::string>& cells, bool marked) {
  rows_ += marked ? "<tr class='marked'>" : "<tr>";
  for (std::size_t i = 0; i < cells.size(); ++i)
    rows_ += (columns_.at(i).text ? "<td class='text'>" : "<td>") + cells[i] + "</td>";
  rows_ += "</tr>\n";
}

std::string Table::html() const {
  std::string head;
  for (const Column& column : columns_)
    head += (column.text ? "<th class='text'>" : "<th>") + html_text(column.name) + "</th>";
  return "<div class='wide'><table><thead><tr>" + head + "</tr></thead><tbody>\n" + rows_ + "</tbody></table></div>\n";
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string html = "<div class='wide'><table class='facts'><tbody>\n";
  for (const auto& [name, value] : rows) html += concat("<tr><th>", name, "</th><td>", value, "</td></tr>\n");
  return html + "</tbody></table></div>\n";
}

}  // namespace pleat
