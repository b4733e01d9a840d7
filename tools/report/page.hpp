// The HTML page that holds the parts of a report.
#pragma once

#include <string>
#include <vector>

namespace pleat {

struct ReportPart {
  std::string title, name;  ///< What it is and of which input, as text.
  std::string body;         ///< HTML.
};

/// The page. Its policy forbids the browser to load or to run anything, whatever is in the bodies.
std::string page(const std::vector<ReportPart>& parts);

}  // namespace pleat
