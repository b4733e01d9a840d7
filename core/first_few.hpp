// Lists of names in messages of one line.
#pragma once

#include <string>
#include <vector>

#include "core/check.hpp"

namespace pleat {

/// "a, b, c, d, e and 7 more".
[[gnu::cold]] inline std::string first_few(const std::vector<std::string>& names) {
  constexpr std::size_t kFew = 5;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kFew; ++i) text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kFew ? concat(text, " and ", names.size() - kFew, " more") : text;
}

}  // namespace pleat
