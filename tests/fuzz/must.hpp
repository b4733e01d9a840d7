// What the fuzz targets share.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

/// A crash, for the fuzzer to report, unless `condition` holds.
inline void must(bool condition) {
  if (!condition) std::abort();
}

/// Refusals are short and of one line, and begin with `prefix`.
inline void must_be_one_line(const std::exception& error, const std::string& prefix = "") {
  const std::string message = error.what();
  must(message.starts_with(prefix) && message.find('\n') == std::string::npos && message.size() < 10'000);
}
