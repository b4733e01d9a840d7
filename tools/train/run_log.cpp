#include "tools/train/run_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/json.hpp"

namespace pleat {
namespace {

bool is_entry(const nlohmann::ordered_json& entry) {
  return entry.is_object() && entry.contains("epoch") && entry["epoch"].is_number_integer();
}

// The lines of epochs up to `keep_epochs`. A line is whole if a newline ends it.
std::string kept_lines(const std::string& path, int64_t keep_epochs) {
  const std::vector<std::byte> bytes = read_file(path);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::string kept;
  std::size_t begin = 0;
  int number = 1;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1, ++number) {
    const std::string line = text.substr(begin, end - begin);
    const auto entry = parse_json(line);
    PLEAT_CHECK_FILE(is_entry(entry), path, "line ", number, " is not the record of an epoch");
    if (entry["epoch"].get<int64_t>() <= keep_epochs) kept += line + '\n';
  }
  return kept;
}

// Appends and waits for the disk.
void append_durably(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  PLEAT_CHECK_FILE(fd >= 0, path, "cannot open: ", std::strerror(errno));
  // One write: a line is small, and a file system that takes part of it is full.
  const ssize_t written = ::write(fd, text.data(), text.size());
  const bool good = written == std::ssize(text) && ::fsync(fd) == 0;
  const std::string reason = written >= 0 && written < std::ssize(text) ? "disk full" : std::strerror(errno);
  ::close(fd);
  PLEAT_CHECK_FILE(good, path, "cannot write: ", reason);
}

}  // namespace

RunLog::RunLog(std::string path, int64_t keep_epochs) : path_(std::move(path)) {
  const bool resume = keep_epochs > 0 && std::filesystem::exists(path_);
  write_file(path_, resume ? kept_lines(path_, keep_epochs) : std::string());
}

void RunLog::append(const nlohmann::ordered_json& entry) {
  PLEAT_CHECK(is_entry(entry), "run log: the entry has no integer \"epoch\"");
  append_durably(path_, entry.dump() + '\n');
}

}  // namespace pleat
