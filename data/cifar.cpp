#include "data/cifar.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/file.hpp"

namespace pleat {
namespace {

constexpr int kSide = 32, kPlane = kSide * kSide, kChannels = 3;

// Where a data set's files are and what their records look like.
struct Layout {
  const char* name;
  std::vector<std::string> train, test;
  const char* class_names;
  int label_bytes;  // per record; the last of them is the label that is used
  int classes;
  std::size_t train_records, test_records;  // in each official file
};

const Layout kCifar10{
    "cifar10",
    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
    {"test_batch.bin"},
    "batches.meta.txt",
    1,
    10,
    10000,
    10000};
const Layout kCifar100{"cifar100", {"train.bin"}, {"test.bin"}, "fine_label_names.txt", 2, 100, 50000, 10000};

std::vector<std::string> read_class_names(const std::string& path, int expected) {
  std::vector<std::string> names = read_lines(path);
  PLEAT_CHECK_FILE(static_cast<int>(names.size()) == expected, path, "holds ", names.size(), " class names, expected ",
                   expected);
  return names;
}

void append_records(Dataset& set, const std::string& path, const Layout& layout, std::size_t official) {
  const std::vector<std::byte> bytes = read_file(path);
  const std::size_t record = layout.label_bytes + kChannels * kPlane;
  PLEAT_CHECK_FILE(!bytes.empty() && bytes.size() % record == 0, path, "is ", bytes.size(),
                   " bytes long, expected records of ", record, " bytes (record ", bytes.size() / record, " at offset ",
                   bytes.size() / record * record, " is incomplete)");
  const std::size_t count = bytes.size() / record;
  // A different count is only a warning: the file may be an intended miniature, but it may also have been cut off
  // between two records, which cannot be told apart.
  if (count != official && set.warning.empty())
    set.warning = concat(path, ": holds ", count, " records, while the official file holds ", official);
  const std::size_t start = set.images.size();
  set.images.resize(start + count * kChannels * kPlane);
  for (std::size_t r = 0; r < count; ++r) {
    const std::byte* const labels = bytes.data() + r * record;
    const int label = static_cast<int>(labels[layout.label_bytes - 1]);
    PLEAT_CHECK_FILE(label < layout.classes, path, "record ", r, " at offset ", r * record, " has label ", label,
                     ", expected 0 to ", layout.classes - 1);
    set.labels.push_back(label);
    const std::byte* const planes = labels + layout.label_bytes;
    uint8_t* const image = set.images.data() + start + r * kChannels * kPlane;
    for (int p = 0; p < kPlane; ++p)
      for (int c = 0; c < kChannels; ++c) image[p * kChannels + c] = static_cast<uint8_t>(planes[c * kPlane + p]);
  }
}

Dataset read_cifar(const Layout& layout, const std::string& dir, Split split) {
  Dataset set{
      layout.name, kSide, kSide, kChannels, {}, {}, read_class_names(dir + '/' + layout.class_names, layout.classes)};
  for (const std::string& file : split == Split::train ? layout.train : layout.test)
    append_records(set, dir + '/' + file, layout, split == Split::train ? layout.train_records : layout.test_records);
  return set;
}

}  // namespace

Dataset read_cifar10(const std::string& dir, Split split) {
  return read_cifar(kCifar10, dir, split);
}

Dataset read_cifar100(const std::string& dir, Split split) {
  return read_cifar(kCifar100, dir, split);
}

}  // namespace pleat
