// Data sets: pictures as bytes, whole in memory, in the order of their files. Reading is strict: every size, magic
// number and label is checked, and a bad file gives std::runtime_error naming the file, the place, what was got and
// expected.
//
// A set is called by name or by the folder that holds its files. Names and their official layouts:
//   cifar10        cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin, batches.meta.txt
//   cifar100       cifar-100-binary/{train,test}.bin, fine_label_names.txt (the fine labels are used)
//   mnist          mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte, each plain or .gz
//   fashion-mnist  fashion-mnist/, the same files
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pleat {

struct Dataset {
  std::string name;
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> images;       ///< [size, height, width, channels]
  std::vector<int32_t> labels;       ///< [size], each below classes.size()
  std::vector<std::string> classes;  ///< Names by label.

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t image_size() const { return int64_t{height} * width * channels; }

  /// The bytes [height, width, channels] of one image. Throws std::invalid_argument if there is none.
  std::span<const uint8_t> image(int64_t index) const;
};

enum class Split { train, test };
const char* to_string(Split split);

/// What is known of a set without reading it. Networks see (pixel/255 - mean) / std, one number a channel.
struct DatasetInfo {
  std::string name;
  std::vector<std::string> folders;  ///< Where it lies below $PLEAT_DATA and ./local; the first is where fetch puts it.
  int height = 0, width = 0, channels = 0, classes = 0;
  std::vector<float> mean, std;
};

/// The names that load_dataset knows, and what it knows of each.
std::vector<std::string> dataset_names();

/// The set's description, by its name or its folder. Throws std::invalid_argument if it is neither.
const DatasetInfo& dataset_info(const std::string& name_or_dir);

/// The folder that holds the set called `name`: $PLEAT_DATA is searched, then ./local, then the system's folders.
/// Throws std::runtime_error naming the places looked in and the command that gets the set.
std::string find_dataset(const std::string& name);

/// Reads one split of a set, by its name or its folder. Throws as find_dataset does, and std::runtime_error for bad
/// files.
Dataset load_dataset(const std::string& name_or_dir, Split split);

}  // namespace pleat
