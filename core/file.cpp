#include "core/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "core/check.hpp"

namespace pleat {
namespace {

// An open file descriptor; -1 if opening failed.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close_now(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  // Closes the file and returns whether that succeeded. Some file systems report a full disk only here.
  bool close_now() {
    const int fd = fd_;
    fd_ = -1;
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

// Removes the file at the end of its scope unless `keep` was set.
struct Remover {
  const std::string& path;
  bool keep = false;
  ~Remover() {
    if (!keep) ::unlink(path.c_str());
  }
};

std::string system_error() {
  return std::strerror(errno);
}

void write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());  // it may write fewer bytes than asked for
    if (n < 0 && errno == EINTR) continue;
    PLEAT_CHECK_FILE(n >= 0, path, "cannot write: ", system_error());
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

}  // namespace

std::vector<std::byte> read_file(const std::string& path) {
  // With O_NONBLOCK, opening a named pipe does not wait for a writer; the pipe is refused below.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  PLEAT_CHECK_FILE(file.open(), path, "cannot open: ", system_error());
  struct stat status;
  PLEAT_CHECK_FILE(::fstat(file.get(), &status) == 0, path, "cannot read: ", system_error());
  PLEAT_CHECK_FILE(!S_ISDIR(status.st_mode), path, "is a folder, expected a file");
  PLEAT_CHECK_FILE(S_ISREG(status.st_mode), path, "is not a regular file");

  // Linux may grant more memory than exists and kill the process when it is used, so the size is checked first.
  const int64_t memory = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  PLEAT_CHECK_FILE(status.st_size < memory, path, "has ", status.st_size, " bytes, expected fewer than the ", memory,
                   " bytes of memory");

  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    PLEAT_CHECK_FILE(n >= 0, path, "cannot read: ", system_error());
    PLEAT_CHECK_FILE(n > 0, path, "became shorter while it was read: got ", done, " bytes, expected ", bytes.size());
    done += static_cast<std::size_t>(n);
  }
  return bytes;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines(1);
  for (const std::byte byte : read_file(path)) {
    const char c = static_cast<char>(byte);
    if (c == '\n')
      lines.emplace_back();
    else if (c != '\r')
      lines.back() += c;
  }
  constexpr const char* kByteOrderMark = "\xEF\xBB\xBF";  // which some editors put before a UTF-8 text
  if (lines[0].starts_with(kByteOrderMark)) lines[0].erase(0, 3);
  std::erase(lines, "");
  return lines;
}

void write_file(const std::string& path, std::span<const std::span<const std::byte>> parts) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) {
    PLEAT_CHECK_FILE(!S_ISDIR(status.st_mode), path, "cannot write: is a folder, expected a file");
    // The rename below would replace a device such as /dev/null by a file.
    PLEAT_CHECK_FILE(S_ISREG(status.st_mode), path, "cannot write: is not a regular file");
  }
  const std::string temporary = concat(path, ".tmp.", ::getpid());
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  PLEAT_CHECK_FILE(file.open(), path, "cannot create: ", system_error());
  Remover remover{temporary};
  for (const auto part : parts) write_all(file.get(), part, path);
  PLEAT_CHECK_FILE(::fsync(file.get()) == 0, path, "cannot write: ", system_error());
  PLEAT_CHECK_FILE(file.close_now(), path, "cannot write: ", system_error());
  PLEAT_CHECK_FILE(std::rename(temporary.c_str(), path.c_str()) == 0, path, "cannot rename: ", system_error());
  remover.keep = true;

  // The new name survives a power failure only once its folder has been flushed. Not every file system can do that, and
  // the file is complete already, so a failure here is not an error.
  const auto parent = std::filesystem::path(path).parent_path();
  const Descriptor folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.open()) ::fsync(folder.get());
}

void write_file(const std::string& path, const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  write_file(path, std::span(&bytes, 1));
}

}  // namespace pleat
