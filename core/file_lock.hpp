// Lock files, which keep other programs and other threads out.
#pragma once

#include <string>

namespace pleat {

/// Keeps all others out, threads of this process as well as other processes, while it lives. The system takes the lock
/// back if the process dies, however it dies. The file itself stays, empty.
class FileLock {
 public:
  enum class Wait { yes, no };

  /// Makes the file at `path` if it is absent, and locks it: waits for others, or throws std::runtime_error that begins
  /// with `path` and says that another program holds it.
  FileLock(const std::string& path, Wait wait);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  const int file_;
};

}  // namespace pleat
