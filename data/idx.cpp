#include "data/idx.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "core/check.hpp"

namespace pleat {
namespace {

constexpr int64_t kMaxImages = 10'000'000;  // a hundred times as many as in the largest idx data set
constexpr int64_t kMaxIdxSide = 4096;
constexpr int64_t kChunk = int64_t{1} << 20;

// Reads a plain or gzipped file from its start to its end.
class IdxFile {
 public:
  explicit IdxFile(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose_r) {
    PLEAT_CHECK_FILE(file_ != nullptr, path, std::strerror(errno));
  }

  // Reads the magic number, whose last byte is the number of dimensions, and the dimensions.
  template <std::size_t kDimensions>
  std::array<int64_t, kDimensions> read_header() {
    const uint32_t magic = read_word(), expected = 0x0800 + kDimensions;
    PLEAT_CHECK_FILE(magic == expected, path_, "magic number at offset 0 is ", magic, ", expected ", expected);
    std::array<int64_t, kDimensions> dimensions;
    for (int64_t& extent : dimensions) extent = read_word();
    return dimensions;
  }

  // Reads exactly `size` bytes and expects the file to end there. The vector grows in chunks, so a file that claims a
  // huge size cannot make it allocate more memory than the file has bytes.
  std::vector<uint8_t> read_to_end(int64_t size) {
    std::vector<uint8_t> bytes;
    while (static_cast<int64_t>(bytes.size()) < size) {
      const std::size_t start = bytes.size();
      bytes.resize(start + std::min<int64_t>(kChunk, size - start));
      read_exactly(bytes.data() + start, bytes.size() - start, size);
    }
    uint8_t extra;
    PLEAT_CHECK_FILE(read_up_to(&extra, 1) == 0, path_, "continues after offset ", offset_ - 1,
                     ", expected to end there");
    return bytes;
  }

 private:
  uint32_t read_word() {
    std::array<uint8_t, 4> b;
    read_exactly(b.data(), b.size(), b.size());
    return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
  }

  void read_exactly(uint8_t* out, std::size_t size, int64_t wanted) {
    const int64_t start = offset_;
    PLEAT_CHECK_FILE(read_up_to(out, size) == size, path_, "ends at offset ", offset_, ", expected ", wanted,
                     " bytes from offset ", start);
  }

  std::size_t read_up_to(uint8_t* out, std::size_t size) {
    const int got = gzread(file_.get(), out, static_cast<unsigned>(size));
    int error = Z_OK;
    const char* const reason = gzerror(file_.get(), &error);
    PLEAT_CHECK_FILE(got >= 0 && error == Z_OK, path_, "after offset ", offset_, ": ",
                     error == Z_ERRNO ? std::strerror(errno) : reason);
    offset_ += got;
    return static_cast<std::size_t>(got);
  }

  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  int64_t offset_ = 0;  // in the unpacked bytes
};

std::string require_idx_file(const std::string& dir, const std::string& stem) {
  const std::string path = find_idx_file(dir, stem);
  PLEAT_CHECK_FILE(!path.empty(), dir + '/' + stem, "is missing, and so is ", stem, ".gz");
  return path;
}

// The greatest of these labels and of those in both splits' files, as far as they exist.
int greatest_label(const std::string& dir, const std::vector<uint8_t>& labels) {
  int greatest = *std::max_element(labels.begin(), labels.end());
  for (const char* prefix : {"train", "t10k"}) {
    const std::string path = find_idx_file(dir, std::string(prefix) + "-labels-idx1-ubyte");
    if (path.empty()) continue;
    IdxFile file(path);
    const auto [count] = file.read_header<1>();
    for (uint8_t label : file.read_to_end(count)) greatest = std::max<int>(greatest, label);
  }
  return greatest;
}

std::vector<std::string> numbers_up_to(int greatest) {
  std::vector<std::string> names;
  for (int i = 0; i <= greatest; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace

std::string find_idx_file(const std::string& dir, const std::string& stem) {
  for (const char* suffix : {"", ".gz"})
    if (std::string path = dir + '/' + stem + suffix; std::filesystem::is_regular_file(path)) return path;
  return "";
}

Dataset read_idx(const DatasetInfo& info, const std::string& dir, Split split, std::vector<std::string> classes) {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const std::string images_path = require_idx_file(dir, prefix + "-images-idx3-ubyte");
  const std::string labels_path = require_idx_file(dir, prefix + "-labels-idx1-ubyte");

  IdxFile images(images_path);
  const auto [count, height, width] = images.read_header<3>();
  if (info.height > 0)
    PLEAT_CHECK_FILE(height == info.height && width == info.width, images_path, "images are ", height, "x", width,
                     ", expected ", info.height, "x", info.width);
  PLEAT_CHECK_FILE(std::min(height, width) >= 1 && std::max(height, width) <= kMaxIdxSide, images_path, "images are ",
                   height, "x", width, ", expected sides of 1 to ", kMaxIdxSide);
  PLEAT_CHECK_FILE(count >= 1 && count <= kMaxImages, images_path, "holds ", count, " images, expected 1 to ",
                   kMaxImages);

  IdxFile labels(labels_path);
  const auto [label_count] = labels.read_header<1>();
  PLEAT_CHECK_FILE(label_count == count, labels_path, "holds ", label_count, " labels, expected ", count,
                   ", the number of pictures in ", images_path);

  Dataset set{
      info.name, static_cast<int>(height), static_cast<int>(width), 1, images.read_to_end(count * height * width),
      {},        std::move(classes)};
  const std::vector<uint8_t> bytes = labels.read_to_end(count);
  if (set.classes.empty()) set.classes = numbers_up_to(greatest_label(dir, bytes));
  for (int64_t i = 0; i < count; ++i)
    PLEAT_CHECK_FILE(bytes[i] < set.classes.size(), labels_path, "label ", i, " at offset ", 8 + i, " is ",
                     int{bytes[i]}, ", expected 0 to ", set.classes.size() - 1);
  set.labels.assign(bytes.begin(), bytes.end());
  return set;
}

}  // namespace pleat
