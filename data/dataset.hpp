// Data sets: small pictures as bytes, whole in memory, in the order of their files, or the names of picture files.
// Reading is strict: every size, magic number and label is checked, and a bad file gives std::runtime_error naming the
// file, the place, what was got and expected.
//
// A set is called by name or by the folder that holds its files. Names and their official layouts:
//   cifar10        cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin, batches.meta.txt
//   cifar100       cifar-100-binary/{train,test}.bin, fine_label_names.txt (the fine labels are used)
//   mnist          mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte, each plain or .gz
//   fashion-mnist  fashion-mnist/, the same files
// By their folder alone:
//   idx            MNIST's files with other pictures: any size, any number of classes
//   pictures       data/image_folder.hpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/picture.hpp"

namespace pleat {

/// A picture file as it was when its folder was read.
struct PictureFile {
  std::string path;  ///< Below the set's root.
  int64_t size = 0;  ///< In bytes.
  int64_t time = 0;  ///< Of its last change, in nanoseconds.
  bool operator==(const PictureFile&) const = default;
};

struct Dataset {
  std::string name;
  int height = 0, width = 0, channels = 0;  ///< 0x0 where the pictures are files, each of a size of its own.
  std::vector<uint8_t> images;              ///< [size, height, width, channels]; none where they are files
  std::vector<int32_t> labels;              ///< [size], each below classes.size()
  std::vector<std::string> classes;         ///< Names by label.
  std::string root = {};                    ///< Folder of the files.
  std::vector<PictureFile> files = {};      ///< [size], or none
  std::string warning = {};                 ///< What the user should know of the data, one line; or nothing.

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t image_size() const { return int64_t{height} * width * channels; }

  /// The bytes [height, width, channels] of one image in memory. Throws std::invalid_argument if there is none.
  std::span<const uint8_t> image(int64_t index) const;

  /// One picture, from memory or its file; `decoded` keeps the file's pixels. Throws as `image` and load_picture do.
  Pixels picture(int64_t index, Picture& decoded) const;
};

enum class Split { train, test };
const char* to_string(Split split);

/// What is known of a set without reading it. Networks see (pixel/255 - mean) / std, one number a channel.
struct DatasetInfo {
  std::string name;
  std::vector<std::string> folders;  ///< Where it lies below $PLEAT_DATA and ./local; the first is where fetch puts it.
  int height = 0, width = 0, channels = 0, classes = 0;  ///< 0x0: the pictures are of any size.
  std::vector<float> mean, std;
};

/// The names that load_dataset knows, and what it knows of each.
std::vector<std::string> dataset_names();

/// The set's description, by its name or its folder. Throws std::invalid_argument if it is neither. Of an idx folder
/// that is neither MNIST nor Fashion-MNIST the training split is read, which throws as load_dataset does.
DatasetInfo dataset_info(const std::string& name_or_dir);

/// The folder that holds the set called `name`: $PLEAT_DATA is searched, then ./local, then the system's folders.
/// Throws std::runtime_error naming the places looked in and the command that gets the set.
std::string find_dataset(const std::string& name);

/// It is neither a name nor a folder of the sets above, but one of picture files.
bool holds_image_folder(const std::string& name_or_dir);

/// Mean and standard deviation of the pixels, 0 to 1, one a channel.
struct Statistics {
  std::vector<double> mean, std;
};

/// Over all pixels of at most `pictures` pictures, taken evenly from the whole set. Throws as Dataset::picture does.
Statistics measure(const Dataset& set, int64_t pictures);

/// Reads one split of a set, by its name or its folder. Throws as find_dataset does, and std::runtime_error for bad
/// files. Of a picture folder `class_list` may name the class folders by label (data/image_folder.hpp); other sets have
/// their own, and throw std::invalid_argument for it.
Dataset load_dataset(const std::string& name_or_dir, Split split, const std::vector<std::string>& class_list = {});

}  // namespace pleat
