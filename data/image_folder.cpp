#include "data/image_folder.hpp"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>

#include "core/check.hpp"
#include "core/file.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

bool is_picture_name(const std::string& name) {
  std::string ending = fs::path(name).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return !name.starts_with('.') && (ending == ".jpeg" || ending == ".jpg" || ending == ".png");
}

// Names of what is in a folder, sorted; only folders, or only files that are pictures by their names.
std::vector<std::string> names_in(const std::string& dir, bool folders) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entry(dir, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (folders ? !name.starts_with('.') && entry->is_directory() : is_picture_name(name)) names.push_back(name);
  }
  PLEAT_CHECK_FILE(!error, dir, error.message());
  std::sort(names.begin(), names.end());
  return names;
}

bool has_splits(const std::string& dir) {
  return fs::is_directory(dir + "/train") || fs::is_directory(dir + "/val");
}

std::string split_folder(const std::string& dir, Split split) {
  if (has_splits(dir)) return dir + (split == Split::train ? "/train" : "/val");
  PLEAT_CHECK_FILE(split == Split::test, dir, "has no training pictures: expected folders train and val in it");
  return dir;
}

std::vector<std::string> class_folders(const std::string& dir) {
  std::vector<std::string> names = names_in(dir, true);
  PLEAT_CHECK_FILE(!names.empty(), dir, "holds no class folders");
  return names;
}

PictureFile stat_file(const std::string& root, const std::string& name) {
  std::error_code error;
  PictureFile file{name};
  file.size = static_cast<int64_t>(fs::file_size(root + '/' + name, error));
  PLEAT_CHECK_FILE(!error, root + '/' + name, error.message());
  const auto time = fs::last_write_time(root + '/' + name, error);
  PLEAT_CHECK_FILE(!error, root + '/' + name, error.message());
  const auto since_1970 = std::chrono::file_clock::to_sys(time).time_since_epoch();
  file.time = std::chrono::duration_cast<std::chrono::nanoseconds>(since_1970).count();
  return file;
}

// A line of the index; the name last, because it may hold anything but a line's end.
std::string index_line(const Dataset& set, int64_t i) {
  const PictureFile& file = set.files[i];
  PLEAT_CHECK_FILE(file.path.find('\n') == std::string::npos, set.root + '/' + file.path,
                   "the name has a line break in it");
  return concat(set.labels[i], ' ', file.size, ' ', file.time, ' ', fs::path(set.root).filename().string(), '/',
                file.path);
}

std::vector<std::string> index_lines(const std::vector<const Dataset*>& sets) {
  std::vector<std::string> lines;
  for (const Dataset* set : sets)
    for (int64_t i = 0; i < static_cast<int64_t>(set->files.size()); ++i) lines.push_back(index_line(*set, i));
  return lines;
}

std::string name_in(const std::string& line) {
  std::size_t at = 0;
  for (int field = 0; field < 3 && at != std::string::npos; ++field) at = line.find(' ', at + 1);
  return at == std::string::npos ? line : line.substr(at + 1);
}

}  // namespace

bool is_image_folder(const std::string& dir) {
  if (has_splits(dir)) return true;
  const std::vector<std::string> folders = names_in(dir, true);
  return std::any_of(folders.begin(), folders.end(),
                     [&](const std::string& name) { return !names_in(dir + '/' + name, false).empty(); });
}

std::vector<std::string> image_folder_classes(const std::string& dir) {
  return class_folders(split_folder(dir, fs::is_directory(dir + "/train") ? Split::train : Split::test));
}

std::vector<std::string> read_class_list(const std::string& path) {
  std::vector<std::string> names = fs::is_directory(path) ? class_folders(path) : read_lines(path);
  PLEAT_CHECK_FILE(!names.empty(), path, "names no classes");
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  PLEAT_CHECK_FILE(twice == sorted.end(), path, "names class '", *twice, "' twice");
  return names;
}

Dataset read_image_folder(const std::string& dir, Split split, const std::vector<std::string>& class_list) {
  const std::string root = split_folder(dir, split);
  Dataset set;
  set.name = dir;
  set.channels = 3;
  set.classes = class_list.empty() ? image_folder_classes(dir) : class_list;
  set.root = root;
  for (const std::string& folder : class_folders(root)) {
    const auto label = std::find(set.classes.begin(), set.classes.end(), folder) - set.classes.begin();
    PLEAT_CHECK_FILE(label < static_cast<std::ptrdiff_t>(set.classes.size()), root + '/' + folder, "is none of the ",
                     set.classes.size(), " classes ",
                     class_list.empty() ? "of the training pictures" : "of the class list");
    const std::vector<std::string> names = names_in(root + '/' + folder, false);
    PLEAT_CHECK_FILE(!names.empty(), root + '/' + folder, "holds no JPEG or PNG files");
    for (const std::string& name : names) {
      set.files.push_back(stat_file(root, folder + '/' + name));
      set.labels.push_back(static_cast<int32_t>(label));
    }
  }
  return set;
}

void write_index(const std::string& path, const std::vector<const Dataset*>& sets) {
  std::string text;
  for (const std::string& line : index_lines(sets)) text += line + '\n';
  write_file(path, text);
}

void check_index(const std::string& path, const std::vector<const Dataset*>& sets) {
  const std::vector<std::string> then = read_lines(path), now = index_lines(sets);
  const auto [was, is] = std::mismatch(then.begin(), then.end(), now.begin(), now.end());
  if (was == then.end() && is == now.end()) return;
  // Both are in the same order, so that the side that lags behind tells what has happened.
  const std::string old_name = was == then.end() ? "" : name_in(*was), new_name = is == now.end() ? "" : name_in(*is);
  const bool is_new =
      std::none_of(then.begin(), then.end(), [&](const std::string& l) { return name_in(l) == new_name; });
  const std::string what = old_name == new_name          ? concat(old_name, " has changed")
                           : !new_name.empty() && is_new ? concat(new_name, " is new")
                                                         : concat(old_name, " is gone");
  PLEAT_CHECK_FILE(false, path, "the run began with other pictures: ", what, " (label, size and time then: '",
                   was == then.end() ? "none" : *was, "', now: '", is == now.end() ? "none" : *is,
                   "')\nhint: put the pictures back as they were, or start anew with another --out");
}

}  // namespace pleat
