// Folders of pictures as ImageNet's: DIR/{train,val}/<class>/*.{jpg,jpeg,png,bmp,ppm,pgm}, or DIR/<class>/ alone, which
// is a test split. In the place of val may stand validation, valid or test. Folders within a class folder belong to the
// class. Label order: the class folders' names, sorted by bytes (those of train where there is one), or a class list,
// which may have classes without a folder: ten folders of a 1000-class network's. Pictures come class by class, sorted
// by name, those of inner folders last. Other files are passed over and named in Dataset::warning; of names that begin
// with a dot nothing is said.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace pleat {

/// There are folders train or val in it, or folders with pictures.
bool is_image_folder(const std::string& dir);

/// Names of the class folders by label.
std::vector<std::string> image_folder_classes(const std::string& dir);

/// Names of class folders by label: a text file's lines, or the folders in a folder, sorted. Throws std::runtime_error
/// for none, or one that stands there twice.
std::vector<std::string> read_class_list(const std::string& path);

/// The files of one split; the pictures themselves are not read. Throws std::runtime_error for an absent split, a class
/// folder without pictures or one that `class_list` (if any) does not name.
Dataset read_image_folder(const std::string& dir, Split split, const std::vector<std::string>& class_list);

/// All pictures in the folder and in folders within it, of one class; those of `train` alone where there are splits.
/// The pictures themselves are not read. Throws std::runtime_error if there are none.
Dataset read_unlabelled(const std::string& dir);

/// Writes names, sizes and times of all pictures to a text file, so that check_index can tell if they change.
void write_index(const std::string& path, const std::vector<const Dataset*>& sets);

/// Throws std::runtime_error naming the first picture that is not as write_index found it.
void check_index(const std::string& path, const std::vector<const Dataset*>& sets);

}  // namespace pleat
