// Getting data sets from their official addresses: curl (or wget) downloads, md5sum checks, tar unpacks.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace pleat {

/// Where a set comes from: an archive that holds its folder, or the files that make up the folder.
struct Source {
  struct File {
    std::string url, md5;
  };
  std::vector<File> files;
  std::string folder;        ///< What it is called in the end.
  bool archive;              ///< The one file is a .tar.gz that unpacks to `folder`.
  std::string package = {};  ///< The distribution's package that has the set too, if any.
};

/// The official source of a named set. Throws std::invalid_argument for other names.
const Source& official_source(const std::string& name);

/// Puts the set at `root`/folder and returns that path. All work goes on in `root`/folder.part, which is renamed at the
/// end, so the folder is whole or absent; after an interruption the next call resumes the download. `say` gets a line
/// for each step. Throws std::runtime_error if the folder exists already, a program fails or an MD5 sum differs (that
/// file is then removed).
std::string fetch(const Source& source, const std::string& root, const std::function<void(const std::string&)>& say);

}  // namespace pleat
