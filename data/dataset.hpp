// Data sets. Small pictures are kept in memory as bytes, in the order of their files; large ones stay in picture files,
// of which the data set holds the names. Reading is strict: every size, magic number and label is checked, and a
// malformed file causes a std::runtime_error that names the file, the offset, the value found and the value expected.
//
// A data set is chosen by its name or by the folder that contains its files. These are the names and the official
// layouts:
//   cifar10        cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin, batches.meta.txt
//   cifar100       cifar-100-binary/{train,test}.bin, fine_label_names.txt (the fine labels are used)
//   mnist          mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte, each plain or .gz
//   fashion-mnist  fashion-mnist/, the same files
// These are recognised by their folder only:
//   idx            MNIST's file format with other pictures, of any size and with any number of classes
//   pictures       folders of JPEG and PNG files, one folder per class (data/image_folder.hpp)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/picture.hpp"

namespace pleat {

/// A picture file, and what its folder said of it when the folder was read.
struct PictureFile {
  std::string path;  ///< Relative to the data set's root folder.
  int64_t size = 0;  ///< In bytes.
  int64_t time = 0;  ///< Of the last change, in nanoseconds since 1970.
  bool operator==(const PictureFile&) const = default;
};

/// One split of a data set.
struct Dataset {
  std::string name;
  int height = 0, width = 0, channels = 0;  ///< Height and width are 0 if the pictures are files, whose sizes differ.
  std::vector<uint8_t> images;              ///< [size, height, width, channels]; empty if the pictures are files.
  std::vector<int32_t> labels;              ///< [size]; each is at least 0 and below classes.size().
  std::vector<std::string> classes;         ///< The name of each label.
  std::string root = {};                    ///< The folder of the files.
  std::vector<PictureFile> files = {};      ///< [size]; empty if the pictures are in memory.
  std::string warning = {};                 ///< One line that the user should see; empty if there is none.

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t image_size() const { return int64_t{height} * width * channels; }

  /// The bytes [height, width, channels] of one picture in memory. Throws std::invalid_argument if there is none with
  /// this index.
  std::span<const uint8_t> image(int64_t index) const;

  /// The pixels of one picture, from memory or from its file. If it comes from a file, `decoded` owns the pixels.
  /// Throws like `image` and load_picture.
  Pixels picture(int64_t index, Picture& decoded) const;
};

enum class Split { train, test };
const char* to_string(Split split);

/// What is known about a data set without reading it. `mean` and `std` have one number per channel; networks are given
/// (pixel/255 - mean) / std.
struct DatasetInfo {
  std::string name;
  std::vector<std::string> folders;  ///< Below $PLEAT_DATA or ./local; the first is where fetch puts it.
  int height = 0, width = 0, channels = 0, classes = 0;  ///< Height and width are 0 if pictures have any size.
  std::vector<float> mean, std;
};

/// The names of the known data sets.
std::vector<std::string> dataset_names();

/// Describes the data set with this name or in this folder. Throws std::invalid_argument if it is neither. For an idx
/// folder that is neither MNIST nor Fashion-MNIST the training split must be read, which throws like load_dataset.
DatasetInfo dataset_info(const std::string& name_or_dir);

/// Finds the folder of the data set called `name`: below $PLEAT_DATA, below ./local, or where a Debian package puts it.
/// Throws std::runtime_error, listing the folders searched and the command that downloads the data set.
std::string find_dataset(const std::string& name);

/// Whether this is a folder of picture files: no name of a data set, and not the folder of one that has other files.
bool holds_image_folder(const std::string& name_or_dir);

/// The mean and the standard deviation of each channel, for pixels from 0 to 1.
struct Statistics {
  std::vector<double> mean, std;
};

/// Measures them over all pixels of at most `pictures` pictures, spaced evenly through the data set. Throws like
/// Dataset::picture.
Statistics measure(const Dataset& set, int64_t pictures);

/// Reads one split of the data set with this name or in this folder. For a folder of picture files, `class_list` may
/// give the order of the class folders (data/image_folder.hpp); it must be empty for other data sets, which define
/// their labels. Throws std::invalid_argument if it is not, std::runtime_error for malformed files, and like
/// find_dataset.
Dataset load_dataset(const std::string& name_or_dir, Split split, const std::vector<std::string>& class_list = {});

/// Reads pictures for what needs no labels; all labels are 0. They are the training split of a known data set, or else
/// all picture files of a folder and the folders in it, or of its folder `train` if there are splits. Throws as
/// load_dataset does.
Dataset load_unlabelled(const std::string& name_or_dir);

}  // namespace pleat
