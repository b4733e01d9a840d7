#include "core/file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
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
  ~Descriptor() {
    if (open()) ::close(fd_);
  }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }

 private:
  const int fd_;
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

// Keeps SIGXFSZ, which ends a program that exceeds its limit on the size of files, from this thread while it lives.
// Writing then fails with an error, also in a program that calls the library and has not ignored the signal.
class SizeSignalBlocked {
 public:
  SizeSignalBlocked() {
    ::sigemptyset(&signal_);
    ::sigaddset(&signal_, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &signal_, &before_);
  }
  ~SizeSignalBlocked() {
    if (::sigismember(&before_, SIGXFSZ) != 0) return;
    constexpr timespec kNoTime = {};
    while (::sigtimedwait(&signal_, nullptr, &kNoTime) < 0 && errno == EINTR) continue;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SizeSignalBlocked(const SizeSignalBlocked&) = delete;
  SizeSignalBlocked& operator=(const SizeSignalBlocked&) = delete;

 private:
  sigset_t signal_, before_;
};

// Where the symbolic links at `path` lead, so that the file behind them is replaced and they stay.
std::string behind_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the system allows
  std::filesystem::path target = path;
  std::error_code error;
  for (int links = 0; std::filesystem::is_symlink(target, error); ++links) {
    PLEAT_CHECK_FILE(links < kMostLinks, path, "cannot write: too many symbolic links");
    target = target.parent_path() / std::filesystem::read_symlink(target);
  }
  return target;
}

std::filesystem::path folder_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

constexpr const char kTemporary[] = ".tmp.";  // then the number of the process, a dot and the number of the file

bool is_temporary_of(const std::string& file, const std::string& name) {
  const std::string prefix = name + kTemporary;
  return file.starts_with(prefix) && std::ranges::count(file.begin() + std::ssize(prefix), file.end(), '.') == 1 &&
         file.find_first_not_of("0123456789.", prefix.size()) == std::string::npos;
}

// Removes temporary files of `path` that killed programs left. A program that still writes one holds its lock.
void remove_left_temporaries(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename();
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder_of(path), error), end; !error && entry != end;
       entry.increment(error)) {
    if (!is_temporary_of(entry->path().filename(), name)) continue;
    const std::string left = entry->path();
    const Descriptor file(::open(left.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (file.open() && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(left.c_str());
  }
}

// Makes a new, empty file for what will be `path`, readable and writable by whom `mode` says, and returns its
// descriptor. O_EXCL refuses whatever somebody else put there. The file is locked as long as the descriptor is open.
int create_temporary(const std::string& path, mode_t mode, std::string& temporary) {
  static std::atomic<int64_t> files = 0;
  for (;;) {
    temporary = concat(path, kTemporary, ::getpid(), '.', files++);
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST) continue;
    PLEAT_CHECK_FILE(fd >= 0, path, "cannot create: ", system_error());
    struct stat status;
    ::flock(fd, LOCK_EX | LOCK_NB);  // where a file system has no locks, nobody else can get one either
    if (::fstat(fd, &status) == 0 && status.st_nlink > 0) return fd;
    ::close(fd);  // another program took it for a left one before it was locked
  }
}

// The mode that a file at `path` is to have: that of the file which is replaced, or the usual one. Throws if something
// else than a regular file is there.
mode_t mode_of(const std::string& path, bool& exists) {
  struct stat status;
  exists = ::stat(path.c_str(), &status) == 0;
  if (!exists) return 0666;
  PLEAT_CHECK_FILE(!S_ISDIR(status.st_mode), path, "cannot write: is a folder, expected a file");
  // The rename of a new file would replace a device such as /dev/null by a file.
  PLEAT_CHECK_FILE(S_ISREG(status.st_mode), path, "cannot write: is not a regular file");
  return status.st_mode & 0777;
}

}  // namespace

std::vector<std::byte> read_file(const std::string& path, std::size_t most) {
  // With O_NONBLOCK, opening a named pipe does not wait for a writer; the pipe is refused below.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  PLEAT_CHECK_FILE(file.open(), path, "cannot open: ", system_error());
  struct stat status;
  PLEAT_CHECK_FILE(::fstat(file.get(), &status) == 0, path, "cannot read: ", system_error());
  PLEAT_CHECK_FILE(!S_ISDIR(status.st_mode), path, "is a folder, expected a file");
  PLEAT_CHECK_FILE(S_ISREG(status.st_mode), path, "is not a regular file");

  // Linux may grant more memory than exists and kill the process when it is used, so the size is checked first.
  const int64_t memory = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  const std::size_t size = std::min(static_cast<std::size_t>(status.st_size), most);
  PLEAT_CHECK_FILE(static_cast<int64_t>(size) < memory, path, "has ", status.st_size,
                   " bytes, expected fewer than the ", memory, " bytes of memory");

  std::vector<std::byte> bytes(size);
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
  const SizeSignalBlocked blocked;
  const std::string target = behind_links(path);
  bool exists = false;
  const mode_t mode = mode_of(target, exists);
  remove_left_temporaries(target);
  std::string temporary;
  const Descriptor file(create_temporary(target, mode, temporary));
  Remover remover{temporary};
  for (const auto part : parts) write_all(file.get(), part, path);
  if (exists) PLEAT_CHECK_FILE(::fchmod(file.get(), mode) == 0, path, "cannot set its mode: ", system_error());
  PLEAT_CHECK_FILE(::fsync(file.get()) == 0, path, "cannot write: ", system_error());
  PLEAT_CHECK_FILE(std::rename(temporary.c_str(), target.c_str()) == 0, path, "cannot rename: ", system_error());
  remover.keep = true;

  // The new name survives a power failure only once its folder has been flushed. Not every file system can do that, and
  // the file is complete already, so a failure here is not an error.
  const Descriptor folder(::open(folder_of(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.open()) ::fsync(folder.get());
}

void check_output(const std::string& path, std::initializer_list<std::string> inputs) {
  for (const std::string& input : inputs) {
    std::error_code error;
    PLEAT_CHECK_FILE(!std::filesystem::equivalent(path, input, error), path,
                     "is what is read, and would be overwritten\nhint: choose another name for what is written");
  }
  const std::string target = behind_links(path);
  bool exists = false;
  const mode_t mode = mode_of(target, exists);
  std::string temporary;
  const Descriptor file(create_temporary(target, mode, temporary));
  ::unlink(temporary.c_str());
}

void write_file(const std::string& path, const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  write_file(path, std::span(&bytes, 1));
}

}  // namespace pleat
