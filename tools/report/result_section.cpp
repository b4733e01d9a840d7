#include <set>

#include "core/check.hpp"
#include "tools/report/html.hpp"
#include "tools/report/sections.hpp"

namespace pleat {
namespace {

// A value in a cell: text as it is, numbers in their shortest form, lists and objects as JSON.
std::string cell(const Json& value) {
  if (value.is_null()) return "–";
  if (value.is_string()) return html_text(value.get<std::string>());
  if (value.is_number_float()) return plain(value.get<double>());
  return html_text(value.dump());
}

bool is_table(const Json& value) {
  if (!value.is_array() || value.empty()) return false;
  for (const Json& row : value)
    if (!row.is_object()) return false;
  return true;
}

// A list of objects, with a column for each of their keys.
std::string table_of(const Json& rows) {
  std::vector<Table::Column> columns;
  std::set<std::string> known;
  for (const Json& row : rows)
    for (const auto& [key, value] : row.items())
      if (known.insert(key).second) columns.push_back({key, !value.is_number()});
  Table table(columns);
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const Table::Column& column : columns)
      cells.push_back(row.contains(column.name) ? cell(row[column.name]) : "");
    table.row(cells);
  }
  return table.html();
}

}  // namespace

std::string result_section(const Json& result) {
  std::vector<std::pair<std::string, std::string>> rows;
  std::string tables;
  const auto add_table = [&](const std::string& name, const Json& value) {
    tables += "<h3>" + html_text(name) + "</h3>\n" + table_of(value);
  };
  for (const auto& [key, value] : result.items()) {
    if (key == "command" || key == "version") continue;
    if (is_table(value)) {
      add_table(key, value);
    } else if (value.is_object()) {  // such as fold's plan: tables by name; and alphas: numbers by name
      for (const auto& [name, part] : value.items())
        if (is_table(part))
          add_table(key + ": " + name, part);
        else if (!part.is_array() || !part.empty())
          rows.emplace_back(html_text(key + ": " + name), cell(part));
    } else {
      rows.emplace_back(html_text(key), cell(value));
    }
  }
  return facts(rows) + tables;
}

}  // namespace pleat
