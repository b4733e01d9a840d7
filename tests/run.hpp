// Runs the programs from outside, for tests: they are looked for beside the test program.
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
  int code = 0;  ///< Of the exit; 256 + the signal that ended it.
  std::string out, err;
  /// The last line of standard output.
  nlohmann::json json() const {
    const std::size_t end = out.find_last_not_of('\n') + 1, begin = out.rfind('\n', end - 1) + 1;
    return nlohmann::json::parse(out.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
  }
};

/// All bytes of a file; empty if there is none.
inline std::string slurp(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

inline std::string program(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

/// Runs a shell command in `dir`, which holds the cache, too; $PLEAT and $RUN are the programs.
inline Result shell(const TempDir& dir, const std::string& command) {
  const std::string script = "cd '" + dir.path() + "' && export XDG_CACHE_HOME=cache && PLEAT='" + program("pleat") +
                             "' RUN='" + program("pleat-run") + "'; { " + command + "; } >'" + dir.path("stdout") +
                             "' 2>'" + dir.path("stderr") + "'";
  const int status = std::system(script.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status), slurp(dir.path("stdout")),
          slurp(dir.path("stderr"))};
}

/// Failed as promised: the code, `pleat: error: ...` with all of `parts` in it, at most a hint besides.
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
