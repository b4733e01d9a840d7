// A temporary folder for the files of a test. It is removed with everything in it when the test ends.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>

namespace pleat {

class TempDir {
 public:
  TempDir() {
    path_ = (std::filesystem::temp_directory_path() / "pleat-test-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error(path_ + ": cannot make a temporary folder");
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + '/' + name; }

  /// The number of files and folders in it.
  int files() const {
    namespace fs = std::filesystem;
    return static_cast<int>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  std::string path_;
};

}  // namespace pleat
