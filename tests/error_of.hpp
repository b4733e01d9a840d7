// The message of an expected error, for tests that go through a table of them.
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

}  // namespace pleat
