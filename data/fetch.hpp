// Downloads data sets from their official addresses. The programs curl (or wget), md5sum and tar do the work: they
// download, verify and unpack.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace pleat {

/// Where a data set comes from: either one archive that contains its folder, or the files that make up the folder.
struct Source {
  struct File {
    std::string url, md5;
  };
  std::vector<File> files;
  std::string folder;        ///< The name of the finished folder.
  bool archive;              ///< Whether `files` is one .tar.gz that unpacks to `folder`.
  std::string package = {};  ///< The Debian package that also contains the data set, if there is one.
};

/// The official source of the data set called `name`. Throws std::invalid_argument if none is known.
const Source& official_source(const std::string& name);

/// Downloads the data set to `root`/folder and returns that path. All work happens in `root`/folder.part, which is
/// renamed at the end, so the folder is either complete or absent. After an interruption the next call resumes the
/// download. `say` is called with a line of text for each step. Throws std::runtime_error if the folder exists already,
/// if a program fails, or if an MD5 sum is wrong (the downloaded file is then removed).
std::string fetch(const Source& source, const std::string& root, const std::function<void(const std::string&)>& say);

}  // namespace pleat
