// The message of an expected error, and what it must hold.
#pragma once

#include <string>

namespace pleat {

/// What the `Error` thrown by `f` says; "no error" if nothing was thrown. Other exceptions pass through.
template <class Error, class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace pleat
