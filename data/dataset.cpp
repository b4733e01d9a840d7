#include "data/dataset.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "core/check.hpp"
#include "data/cifar.hpp"
#include "data/idx.hpp"
#include "data/image_folder.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

// Means and standard deviations are those of published networks, so that their weights can be used unchanged.
//   cifar10, cifar100  from chenyaofo/pytorch-cifar-models. CIFAR-10's 0.2023, ... is the mean of the standard
//   deviations
//                      of single pictures; over all pixels they are 0.2470, 0.2435, 0.2616 (`pleat data info cifar10`).
//   mnist              from pytorch/examples, mnist/main.py
//   fashion-mnist      measured over all pixels of the training split
const std::vector<DatasetInfo> kDatasets = {
    {"cifar10", {"cifar-10-batches-bin"}, 32, 32, 3, 10, {0.4914f, 0.4822f, 0.4465f}, {0.2023f, 0.1994f, 0.2010f}},
    {"cifar100", {"cifar-100-binary"}, 32, 32, 3, 100, {0.5070f, 0.4865f, 0.4409f}, {0.2673f, 0.2564f, 0.2761f}},
    {"mnist", {"mnist", "MNIST/raw"}, 28, 28, 1, 10, {0.1307f}, {0.3081f}},
    {"fashion-mnist", {"fashion-mnist", "FashionMNIST/raw"}, 28, 28, 1, 10, {0.2860f}, {0.3530f}},
};

const std::vector<std::string> kDigits = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

// https://github.com/zalandoresearch/fashion-mnist#labels
const std::vector<std::string> kClothes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                           "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

// Names for the data sets that are recognised by their files.
constexpr const char *kIdx = "idx", *kPictures = "pictures";

// Where Debian's package dataset-fashion-mnist puts its files.
constexpr const char* kDebianFashion = "/usr/share/datasets/fashion-mnist";

const DatasetInfo* find_info(const std::string& name) {
  const auto found =
      std::find_if(kDatasets.begin(), kDatasets.end(), [&](const DatasetInfo& info) { return info.name == name; });
  return found == kDatasets.end() ? nullptr : &*found;
}

bool holds(const std::string& dir, const char* file) {
  return fs::is_regular_file(fs::path(dir) / file);
}

bool holds_idx(const std::string& dir) {
  return !find_idx_file(dir, "train-images-idx3-ubyte").empty() ||
         !find_idx_file(dir, "t10k-images-idx3-ubyte").empty();
}

// The known data set whose files are in `dir`; null if there is none. MNIST and Fashion-MNIST have files of the same
// names, so the name of the folder decides between them.
const DatasetInfo* detect(const std::string& dir) {
  if (holds(dir, "data_batch_1.bin") || holds(dir, "test_batch.bin")) return find_info("cifar10");
  if (holds(dir, "fine_label_names.txt")) return find_info("cifar100");
  if (!holds_idx(dir)) return nullptr;
  fs::path path = fs::absolute(dir).lexically_normal();
  while (path.filename().empty() || path.filename() == "raw")
    path = path.parent_path();  // torchvision puts the files into FashionMNIST/raw
  std::string folder = path.filename().string();
  std::transform(folder.begin(), folder.end(), folder.begin(), [](unsigned char c) { return std::tolower(c); });
  if (folder.find("fashion") != std::string::npos) return find_info("fashion-mnist");
  return folder.starts_with("mnist") ? find_info("mnist") : nullptr;
}

// CIFAR as Python's pickles, which are not read: the same pictures come in another archive. Else empty.
std::string python_version_in(const std::string& dir) {
  for (const char* place : {"", "/cifar-10-batches-py", "/cifar-100-python"}) {
    const std::string folder = dir + place;
    if (fs::is_regular_file(folder + "/batches.meta") || fs::is_regular_file(folder + "/data_batch_1") ||
        (fs::is_regular_file(folder + "/meta") && fs::is_regular_file(folder + "/train")))
      return folder;
  }
  return "";
}

void check_no_python_version(const std::string& dir) {
  const std::string python = python_version_in(dir);
  if (python.empty()) return;
  const bool large = fs::is_regular_file(python + "/meta");
  throw std::runtime_error(concat(python,
                                  ": is CIFAR's version for Python, which is not read\nhint: `pleat data fetch ",
                                  large ? "cifar100" : "cifar10", "` gets the binary version"));
}

// All names in one line, for error messages.
std::string joined_names() {
  std::string text;
  for (const DatasetInfo& info : kDatasets) text += (text.empty() ? "" : ", ") + info.name;
  return text;
}

}  // namespace

std::span<const uint8_t> Dataset::image(int64_t index) const {
  const int64_t end = (index + 1) * image_size();
  PLEAT_CHECK(files.empty() && index >= 0 && index < size() && end <= static_cast<int64_t>(images.size()), "data set ",
              name, ": has no picture ", index, " in memory; it has ", size(), " labels and ", images.size(),
              " bytes of pictures");
  return std::span(images).subspan(index * image_size(), image_size());
}

const char* to_string(Split split) {
  return split == Split::train ? "train" : "test";
}

std::vector<std::string> dataset_names() {
  std::vector<std::string> names;
  for (const DatasetInfo& info : kDatasets) names.push_back(info.name);
  return names;
}

Pixels Dataset::picture(int64_t index, Picture& decoded) const {
  if (files.empty()) return {height, width, channels, image(index)};
  PLEAT_CHECK(index >= 0 && index < size(), "data set ", name, ": has no picture ", index, ", expected 0 to ",
              size() - 1);
  decoded = load_picture(root + '/' + files[index].path, channels);
  return decoded.pixels();
}

Statistics measure(const Dataset& set, int64_t pictures) {
  // Sums over a histogram of each channel need one pass over the pixels and are exact.
  std::vector<std::array<int64_t, 256>> histograms(set.channels);
  Picture decoded;
  int64_t pixels = 0;
  pictures = std::min(pictures, set.size());
  for (int64_t i = 0; i < pictures; ++i) {
    const Pixels picture = set.picture(i * set.size() / pictures, decoded);
    for (std::size_t p = 0; p < picture.bytes.size(); p += picture.step, ++pixels)
      for (int c = 0; c < set.channels; ++c) ++histograms[c][picture.bytes[p + c]];
  }
  Statistics result;
  for (const auto& histogram : histograms) {
    double sum = 0, squares = 0;
    for (int value = 0; value < 256; ++value) {
      sum += static_cast<double>(histogram[value]) * value;
      squares += static_cast<double>(histogram[value]) * value * value;
    }
    const double n = static_cast<double>(pixels), mean = sum / n;
    result.mean.push_back(mean / 255);
    result.std.push_back(std::sqrt(squares / n - mean * mean) / 255);
  }
  return result;
}

bool holds_image_folder(const std::string& name_or_dir) {
  return find_info(name_or_dir) == nullptr && fs::is_directory(name_or_dir) && detect(name_or_dir) == nullptr &&
         !holds_idx(name_or_dir) && is_image_folder(name_or_dir);
}

DatasetInfo dataset_info(const std::string& name_or_dir) {
  if (const DatasetInfo* const info = find_info(name_or_dir)) return *info;
  PLEAT_CHECK(fs::is_directory(name_or_dir), "data set '", name_or_dir, "': is neither a folder nor one of ",
              joined_names());
  if (const DatasetInfo* const info = detect(name_or_dir)) return *info;
  if (holds_idx(name_or_dir)) {
    const Dataset set = load_dataset(name_or_dir, Split::train);
    const Statistics measured = measure(set, set.size());
    return {kIdx,
            {},
            set.height,
            set.width,
            1,
            static_cast<int>(set.classes.size()),
            {static_cast<float>(measured.mean[0])},
            {static_cast<float>(measured.std[0])}};
  }
  check_no_python_version(name_or_dir);
  PLEAT_CHECK(is_image_folder(name_or_dir), "data set '", name_or_dir,
              "': the folder contains neither the files of one of ", joined_names(), " nor class folders of pictures");
  const int classes = static_cast<int>(image_folder_classes(name_or_dir).size());
  // Photographs are normalised as for torchvision's networks.
  return {kPictures, {}, 0, 0, 3, classes, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
}

std::string find_dataset(const std::string& name) {
  const DatasetInfo* const info = find_info(name);
  PLEAT_CHECK(info != nullptr, "data set '", name, "': not a known name, expected one of ", joined_names());
  std::vector<std::string> places;
  const char* const root = std::getenv("PLEAT_DATA");
  for (const std::string& parent : {std::string(root ? root : ""), std::string("./local")}) {
    if (parent.empty()) continue;
    for (const std::string& folder : info->folders) places.push_back(parent + '/' + folder);
    places.push_back(parent);
  }
  if (name == "fashion-mnist") places.push_back(kDebianFashion);

  std::string looked_in;
  for (const std::string& place : places) {
    if (detect(place) == info) return place;
    looked_in += (looked_in.empty() ? "" : ", ") + place;
  }
  for (const std::string& place : places)
    if (name.starts_with("cifar")) check_no_python_version(place);
  throw std::runtime_error(concat("data set '", name, "' not found: searched ", looked_in,
                                  root ? "" : " ($PLEAT_DATA is not set)",
                                  "\nhint: download it with `pleat data fetch ", name, "`",
                                  name == "fashion-mnist" ? " or `apt-get install dataset-fashion-mnist`" : ""));
}

Dataset load_dataset(const std::string& name_or_dir, Split split, const std::vector<std::string>& class_list) {
  const DatasetInfo* const named = find_info(name_or_dir);
  const bool is_folder = fs::is_directory(name_or_dir);
  PLEAT_CHECK(named != nullptr || is_folder, "data set '", name_or_dir, "': is neither a folder nor one of ",
              joined_names());
  const DatasetInfo* const info = named != nullptr ? named : detect(name_or_dir);
  const std::string dir = named != nullptr ? find_dataset(name_or_dir) : name_or_dir;
  if (info == nullptr && !holds_idx(dir)) {
    check_no_python_version(dir);
    PLEAT_CHECK(is_image_folder(dir), "data set '", dir, "': the folder contains neither the files of one of ",
                joined_names(), " nor class folders of pictures");
    return read_image_folder(dir, split, class_list);
  }
  PLEAT_CHECK(class_list.empty(), "data set '", name_or_dir, "' defines its own labels, so it takes no class list");
  if (info == nullptr) return read_idx({kIdx, {}, 0, 0, 1, 0, {}, {}}, dir, split, {});
  if (info->name == "cifar10") return read_cifar10(dir, split);
  if (info->name == "cifar100") return read_cifar100(dir, split);
  return read_idx(*info, dir, split, info->name == "mnist" ? kDigits : kClothes);
}

Dataset load_unlabelled(const std::string& name_or_dir) {
  const bool named = find_info(name_or_dir) != nullptr, is_folder = fs::is_directory(name_or_dir);
  if (named || !is_folder || detect(name_or_dir) != nullptr || holds_idx(name_or_dir)) {
    Dataset set = load_dataset(name_or_dir, Split::train);
    std::ranges::fill(set.labels, 0);
    return set;
  }
  check_no_python_version(name_or_dir);
  return read_unlabelled(name_or_dir);
}

}  // namespace pleat
