#include "data/image_folder.hpp"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/first_few.hpp"
#include "core/utf8.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 8;  // folders within the one that was asked for

bool is_picture_name(const std::string& name) {
  std::string ending = fs::path(name).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* known : {".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".pgm"})
    if (ending == known) return true;
  return false;
}

// What is in a folder, sorted by name; nothing that begins with a dot.
struct Contents {
  std::vector<std::string> folders, pictures, others;
};

Contents contents_of(const std::string& dir) {
  std::error_code error;
  Contents found;
  fs::directory_iterator entry(dir, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with('.')) continue;
    auto& list = entry->is_directory() ? found.folders : is_picture_name(name) ? found.pictures : found.others;
    list.push_back(name);
  }
  PLEAT_CHECK_FILE(!error, dir, error.message());
  for (auto* list : {&found.folders, &found.pictures, &found.others}) std::sort(list->begin(), list->end());
  return found;
}

// The same of the folders within, too, as paths below `dir`; their own names are left out.
Contents everything_below(const std::string& dir, int depth = 0) {
  PLEAT_CHECK_FILE(depth <= kDeepest, dir, "is a folder within more than ", kDeepest, " others");
  Contents all = contents_of(dir);
  for (const std::string& folder : all.folders) {
    const Contents inner = everything_below(dir + '/' + folder, depth + 1);
    for (const std::string& name : inner.pictures) all.pictures.push_back(folder + '/' + name);
    for (const std::string& name : inner.others) all.others.push_back(folder + '/' + name);
  }
  all.folders.clear();
  return all;
}

// The folder of the pictures to test on; empty if there is none.
std::string test_folder(const std::string& dir) {
  for (const char* name : {"/val", "/validation", "/valid", "/test"})
    if (fs::is_directory(dir + name)) return dir + name;
  return "";
}

bool has_splits(const std::string& dir) {
  return fs::is_directory(dir + "/train") || fs::is_directory(dir + "/val");  // the others might be classes
}

std::string split_folder(const std::string& dir, Split split) {
  if (has_splits(dir)) {
    const std::string test = test_folder(dir);
    PLEAT_CHECK_FILE(split == Split::train || !test.empty(), dir,
                     "has no pictures to test on: expected a folder val, validation, valid or test beside train");
    return split == Split::train ? dir + "/train" : test;
  }
  PLEAT_CHECK_FILE(split == Split::test, dir, "has no training pictures: expected folders train and val in it");
  return dir;
}

void check_not_empty(const std::string& dir, const Contents& inside) {
  PLEAT_CHECK_FILE(!inside.pictures.empty(), dir, "holds no JPEG, PNG, BMP, PPM or PGM files",
                   inside.others.empty() ? "" : concat(", but ", first_few(inside.others)));
}

// The names of classes go into model files and JSON, where a run would otherwise fail after its first epoch.
void check_utf8(const std::string& path, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    PLEAT_CHECK_FILE(is_utf8(name), path, "the name of class '", name, "' is not UTF-8");
}

std::vector<std::string> class_folders(const std::string& dir) {
  std::vector<std::string> names = contents_of(dir).folders;
  PLEAT_CHECK_FILE(!names.empty(), dir, "holds no class folders");
  check_utf8(dir, names);
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
  const std::vector<std::string> folders = contents_of(dir).folders;
  return std::any_of(folders.begin(), folders.end(),
                     [&](const std::string& name) { return !everything_below(dir + '/' + name).pictures.empty(); });
}

std::vector<std::string> image_folder_classes(const std::string& dir) {
  return class_folders(split_folder(dir, fs::is_directory(dir + "/train") ? Split::train : Split::test));
}

std::vector<std::string> read_class_list(const std::string& path) {
  std::vector<std::string> names = fs::is_directory(path) ? class_folders(path) : read_lines(path);
  PLEAT_CHECK_FILE(!names.empty(), path, "names no classes");
  check_utf8(path, names);
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  PLEAT_CHECK_FILE(twice == sorted.end(), path, "names class '", *twice, "' twice");
  return names;
}

Dataset read_unlabelled(const std::string& dir) {
  Dataset set;
  set.name = dir;
  set.channels = 3;
  set.classes = {"picture"};
  set.root = has_splits(dir) ? split_folder(dir, Split::train) : dir;
  const Contents inside = everything_below(set.root);
  check_not_empty(set.root, inside);
  for (const std::string& name : inside.pictures) set.files.push_back(stat_file(set.root, name));
  set.labels.resize(set.files.size());
  if (!inside.others.empty())
    set.warning = concat(set.root, ": ", inside.others.size(),
                         " files are passed over, as no picture by their names: ", first_few(inside.others));
  return set;
}

Dataset read_image_folder(const std::string& dir, Split split, const std::vector<std::string>& class_list) {
  const std::string root = split_folder(dir, split);
  Dataset set;
  set.name = dir;
  set.channels = 3;
  set.classes = class_list.empty() ? image_folder_classes(dir) : class_list;
  set.root = root;
  std::vector<std::string> passed_over;
  for (const std::string& folder : class_folders(root)) {
    const auto label = std::find(set.classes.begin(), set.classes.end(), folder) - set.classes.begin();
    PLEAT_CHECK_FILE(label < static_cast<std::ptrdiff_t>(set.classes.size()), root + '/' + folder, "is none of the ",
                     set.classes.size(), " classes ",
                     class_list.empty() ? "of the training pictures" : "of the class list");
    const Contents inside = everything_below(root + '/' + folder);
    check_not_empty(root + '/' + folder, inside);
    for (const std::string& name : inside.pictures) {
      set.files.push_back(stat_file(root, folder + '/' + name));
      set.labels.push_back(static_cast<int32_t>(label));
    }
    for (const std::string& name : inside.others) passed_over.push_back(folder + '/' + name);
  }
  // Beside the class folders, pictures have no label.
  for (const std::string& name : contents_of(root).pictures) passed_over.push_back(name);
  if (!passed_over.empty())
    set.warning =
        concat(root, ": ", passed_over.size(),
               " files are passed over, as no picture of a class by their names or places: ", first_few(passed_over));
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
