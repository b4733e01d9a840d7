// Helpers for tests of error messages.
#pragma once

#include <string>

namespace pleat {

/// Calls `f` and returns the message of the `Error` that it throws, or "no error" if it throws nothing. Other
/// exceptions are not caught.
template <class Error, class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// Whether `text` contains `part`.
inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace pleat
