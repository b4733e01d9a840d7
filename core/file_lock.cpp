#include "core/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/check.hpp"

namespace pleat {

FileLock::FileLock(const std::string& path, Wait wait)
    : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  PLEAT_CHECK_FILE(file_ >= 0, path, "cannot open: ", std::strerror(errno));
  int result = 0;
  do {
    result = ::flock(file_, wait == Wait::yes ? LOCK_EX : LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return;
  const int error = errno;
  ::close(file_);
  PLEAT_CHECK_FILE(error != EWOULDBLOCK, path, "is locked: another program is at work in this folder");
  PLEAT_CHECK_FILE(false, path, "cannot lock: ", std::strerror(error));
}

FileLock::~FileLock() {
  ::close(file_);
}

}  // namespace pleat
