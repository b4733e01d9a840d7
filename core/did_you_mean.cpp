#include "core/did_you_mean.hpp"

#include <algorithm>
#include <numeric>

namespace pleat {
namespace {

// Row by row of the usual table: row[j] is the distance between the letters of `a` so far and the first j of `b`.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j] ? 1 : 0);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string did_you_mean(const std::string& name, const std::vector<std::string>& known) {
  constexpr std::size_t kLongest = 64;  // nobody mistypes a longer name; the table would only take time
  const std::string* best = nullptr;
  std::size_t least = std::max<std::size_t>(name.size() / 3, 1) + 1;
  if (name.size() > kLongest) return "";
  for (const std::string& candidate : known) {
    const std::size_t d = distance(name, candidate);
    if (d < least && d < candidate.size()) {
      best = &candidate;
      least = d;
    }
  }
  return best ? ", did you mean '" + *best + "'?" : "";
}

}  // namespace pleat
