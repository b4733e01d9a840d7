// Files are read and written completely or not at all.
#include "core/file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/file_lock.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

using namespace pleat;
namespace fs = std::filesystem;

namespace {

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Runs `write` in a child process that may not write files larger than `limit` bytes, which resembles a full disk and
// needs no special rights. Returns the message of the error.
template <class F>
std::string with_file_limit(rlim_t limit, const TempDir& folder, const F& write) {
  const std::string report = folder.path("report");
  const int out = ::open(report.c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(out >= 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // SIGXFSZ, which ends a program by default, is not ignored here: write_file copes with it.
    const rlimit bound{limit, limit};
    std::string message = "no limit";
    if (::setrlimit(RLIMIT_FSIZE, &bound) == 0) message = error_of<std::runtime_error>(write);
    ::_exit(::write(out, message.data(), message.size()) == static_cast<ssize_t>(message.size()) ? 0 : 1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  ::close(out);
  REQUIRE(status == 0);
  const std::string message = text_of(read_file(report));
  fs::remove(report);
  return message;
}

}  // namespace

TEST_CASE("file: what is written can be read back, and replaces an earlier file") {
  const TempDir folder;
  const std::string path = folder.path("file");
  write_file(path, std::string("first, longer"));
  write_file(path, std::string("second"));
  CHECK(text_of(read_file(path)) == "second");
  const std::string a = "one ", b, c = "two";
  const std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(a)), std::as_bytes(std::span(b)),
                                                         std::as_bytes(std::span(c))};
  write_file(path, parts);
  CHECK(text_of(read_file(path)) == "one two");
  write_file(path, std::string());
  CHECK(read_file(path).empty());
  CHECK(folder.files() == 1);
}

TEST_CASE("file: the error for a file that cannot be read gives the reason") {
  const TempDir folder;
  const auto error = [](const std::string& path) { return error_of<std::runtime_error>([&] { read_file(path); }); };
  CHECK(error(folder.path("none")) == folder.path("none") + ": cannot open: No such file or directory");
  CHECK(error(folder.path()) == folder.path() + ": is a folder, expected a file");
  CHECK(holds(error("/dev/zero"), "/dev/zero: is not a regular file"));
  REQUIRE(::mkfifo(folder.path("pipe").c_str(), 0600) == 0);
  CHECK(holds(error(folder.path("pipe")), "is not a regular file"));
  // A file whose size exceeds any machine's memory.
  { std::ofstream(folder.path("huge")).put('x'); }
  if (::truncate(folder.path("huge").c_str(), off_t{1} << 43) == 0)
    CHECK(holds(error(folder.path("huge")), "bytes of memory"));
  else
    MESSAGE("skipped: this file system has no sparse file of 8 TB");
}

TEST_CASE("file: links stay, modes are kept, and what killed programs left is removed") {
  const TempDir folder;
  const std::string path = folder.path("file"), link = folder.path("link");
  write_file(path, std::string("one"));
  fs::permissions(path, fs::perms(0600));
  fs::create_symlink("file", link);
  write_file(link, std::string("two"));
  CHECK(fs::is_symlink(link));
  CHECK(text_of(read_file(path)) == "two");
  CHECK(fs::status(path).permissions() == fs::perms(0600));
  fs::create_symlink("later", folder.path("ahead"));
  write_file(folder.path("ahead"), std::string("three"));
  CHECK(text_of(read_file(folder.path("later"))) == "three");
  fs::create_symlink("loop", folder.path("loop"));
  CHECK(holds(error_of<std::runtime_error>([&] { write_file(folder.path("loop"), std::string("x")); }), "loop"));

  // A temporary file that nobody holds is a dead program's; one that is locked, and files with other names, are not.
  const std::string dead = path + ".tmp.1.0", alive = path + ".tmp.1.1", other = path + ".tmp.old";
  for (const std::string& name : {dead, alive, other}) std::ofstream(name) << "part";
  const int held = ::open(alive.c_str(), O_RDONLY);
  REQUIRE(::flock(held, LOCK_EX) == 0);
  write_file(path, std::string("four"));
  CHECK(!fs::exists(dead));
  CHECK(fs::exists(alive));
  CHECK(fs::exists(other));
  ::close(held);
}

TEST_CASE("file: an output is tried, and is not what is read") {
  const TempDir folder;
  const std::string path = folder.path("file");
  write_file(path, std::string("kept"));
  const auto error = [&](const std::string& out) {
    return error_of<std::runtime_error>([&] { check_output(out, {"resnet20", path}); });
  };
  CHECK(error(folder.path("new")) == "no error");
  CHECK(folder.files() == 1);
  CHECK(holds(error(path), path + ": is what is read"));
  fs::create_symlink("file", folder.path("link"));
  CHECK(holds(error(folder.path("link")), "link: is what is read"));
  CHECK(holds(error(folder.path("none/file")), "cannot create: No such file"));
  CHECK(text_of(read_file(path)) == "kept");
}

TEST_CASE("file: a lock keeps others out, and ends with its process") {
  const TempDir folder;
  const std::string path = folder.path("lock");
  const auto error = [&] { return error_of<std::runtime_error>([&] { FileLock(path, FileLock::Wait::no); }); };
  {
    const FileLock lock(path, FileLock::Wait::no);
    CHECK(holds(error(), path + ": is locked"));
  }
  CHECK(error() == "no error");
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(path, FileLock::Wait::no);
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK(holds(error(), path + ": is locked"));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(error() == "no error");
  ::close(ready[0]), ::close(ready[1]);
}

TEST_CASE("file: a failed write leaves the folder unchanged") {
  const TempDir folder;
  const auto error = [](const std::string& path) {
    return error_of<std::runtime_error>([&] { write_file(path, std::string("x")); });
  };
  CHECK(error(folder.path("none/file")) == folder.path("none/file") + ": cannot create: No such file or directory");
  fs::create_directory(folder.path("sub"));
  CHECK(error(folder.path("sub")) == folder.path("sub") + ": cannot write: is a folder, expected a file");
  CHECK(error("/dev/null") == "/dev/null: cannot write: is not a regular file");
  CHECK(fs::is_character_file("/dev/null"));
  CHECK(holds(error(folder.path(std::string(300, 'x'))), "File name too long"));
  fs::permissions(folder.path(), fs::perms(0555));
  const bool root = ::geteuid() == 0;  // root is not stopped by permissions
  if (root) REQUIRE(::seteuid(65534) == 0);
  const std::string refused = error(folder.path("file"));
  if (root) REQUIRE(::seteuid(0) == 0);
  CHECK(refused == folder.path("file") + ": cannot create: Permission denied");
  fs::permissions(folder.path(), fs::perms(0755));
  CHECK(folder.files() == 1);
}

TEST_CASE("file: a full disk leaves the old file unchanged and no temporary file") {
  const TempDir folder;
  const std::string path = folder.path("file");
  write_file(path, std::string("the old one"));
  const std::string large(100000, 'x');
  const std::string message = with_file_limit(65536, folder, [&] { write_file(path, large); });
  CHECK(message == path + ": cannot write: File too large");
  CHECK(text_of(read_file(path)) == "the old one");
  CHECK(folder.files() == 1);
  // Below the limit the same write succeeds, so it was the limit that made it fail.
  CHECK(with_file_limit(200000, folder, [&] { write_file(path, large); }) == "no error");
  CHECK(text_of(read_file(path)) == large);
}
