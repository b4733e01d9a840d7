// Pieces of HTML that the parts of a report are put together from.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace pleat {

/// Text from a file or the command line as HTML shows it, control characters as \xNN. Everything on the page that is
/// not ours goes through this.
std::string html_text(const std::string& text);

/// A number with so many digits behind the point; a dash if it is not finite.
std::string fixed(double value, int digits);

/// A fraction in percent, two digits behind the point.
inline std::string percent(double fraction) {
  return fixed(100 * fraction, 2);
}

/// A count with a blank between each three digits.
std::string count_text(double count);

/// A number in its shortest form, as `std::ostream` writes it.
std::string plain(double value);

/// A small number as people read it: "1.1e-07".
std::string scientific(double value);

/// The same quantity before and after: one number if it is the same.
std::string change(const std::string& before, const std::string& after);

/// A mask as a row of cells, filled for what is kept. Throws std::invalid_argument for other characters than # and '.'.
std::string mask_cells(const std::string& mask);

/// A command line in a box of its own, its text not yet HTML.
std::string command_box(const std::string& command);

/// `body` under a line of text that opens and closes it.
std::string details(const std::string& summary, const std::string& body, bool open = false);

/// A table. Cells are HTML.
class Table {
 public:
  struct Column {
    std::string name;   ///< Text.
    bool text = false;  ///< Aligned on the left, as words are; numbers are aligned on the right.
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Adds a row with one cell for each column, marked if it is the one to look at.
  void row(const std::vector<std::string>& cells, bool marked = false);

  std::string html() const;

 private:
  std::vector<Column> columns_;
  std::string rows_;
};

/// A table of names and values, both HTML.
std::string facts(const std::vector<std::pair<std::string, std::string>>& rows);

}  // namespace pleat
