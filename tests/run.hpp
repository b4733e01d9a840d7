// Lets tests run Pleat's programs as a shell would. The programs are expected next to the test program.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/temp_dir.hpp"

namespace pleat {

struct Result {
  int code = 0;  ///< The exit status, or 256 + the number of the signal that ended the program.
  std::string out, err;
  /// The last line of standard output, parsed as JSON.
  nlohmann::json json() const {
    const std::size_t end = out.find_last_not_of('\n') + 1, begin = out.rfind('\n', end - 1) + 1;
    return nlohmann::json::parse(out.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
  }
};

/// All bytes of a file; empty if the file does not exist.
inline std::string slurp(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

inline std::string program(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

/// Runs a shell command in `dir`, where the programs' cache is, too. $PLEAT and $RUN are the paths of pleat and
/// pleat-run.
inline Result shell(const TempDir& dir, const std::string& command) {
  const std::string script = "cd '" + dir.path() + "' && export XDG_CACHE_HOME=cache && PLEAT='" + program("pleat") +
                             "' RUN='" + program("pleat-run") + "'; { " + command + "; } >'" + dir.path("stdout") +
                             "' 2>'" + dir.path("stderr") + "'";
  const int status = std::system(script.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status), slurp(dir.path("stdout")),
          slurp(dir.path("stderr"))};
}

/// Checks that a program failed as it should: with this exit code, a line `pleat: error: ...` that contains all of
/// `parts`, at most one more line with a hint, and nothing on standard output.
inline void check_failure(const Result& r, int code, const std::vector<std::string>& parts) {
  CAPTURE(r.err);
  CHECK(r.code == code);
  CHECK(r.err.starts_with("pleat: error: "));
  const auto lines = std::count(r.err.begin(), r.err.end(), '\n');
  CHECK(lines == (r.err.find("\nhint: ") == std::string::npos ? 1 : 2));
  CHECK(r.out.empty());
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(r.err.find(part) != std::string::npos);
  }
}

}  // namespace pleat
