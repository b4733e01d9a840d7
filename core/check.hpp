// Errors. A caller's mistake throws std::invalid_argument, a bad file or a failing system std::runtime_error;
// each tool's main catches once and prints one line. Messages name the op or the file, what was got and what was
// expected.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace pleat {

/// The parts written one after another, as `std::ostream` would. Mostly for errors, so compiled small rather than fast.
template <class... Parts>
[[gnu::cold]] std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

/// Ctrl-C was seen and the state is saved: the tool exits with 130.
struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace pleat

/// Throws std::invalid_argument with the parts joined unless the condition holds.
#define PLEAT_CHECK(condition, ...)                              \
  do {                                                           \
    if (!(condition)) [[unlikely]]                               \
      throw std::invalid_argument(::pleat::concat(__VA_ARGS__)); \
  } while (false)

/// Throws std::runtime_error `path: parts` unless the condition holds.
#define PLEAT_CHECK_FILE(condition, path, ...)                            \
  do {                                                                    \
    if (!(condition)) [[unlikely]]                                        \
      throw std::runtime_error(::pleat::concat(path, ": ", __VA_ARGS__)); \
  } while (false)
