#include "data/dataset.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "core/check.hpp"
#include "data/cifar.hpp"
#include "data/idx.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

// Means and standard deviations are those of published networks, so that their weights run unchanged.
//   cifar10, cifar100  chenyaofo/pytorch-cifar-models. CIFAR-10's 0.2023... is the mean of the images' own deviations;
//                      over all pixels it is 0.2470, 0.2435, 0.2616 (`pleat data info cifar10`).
//   mnist              pytorch/examples, mnist/main.py
//   fashion-mnist      over all pixels of the training split
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

// Debian's package dataset-fashion-mnist.
constexpr const char* kDebianFashion = "/usr/share/datasets/fashion-mnist";

const DatasetInfo* find_info(const std::string& name) {
  const auto found =
      std::find_if(kDatasets.begin(), kDatasets.end(), [&](const DatasetInfo& info) { return info.name == name; });
  return found == kDatasets.end() ? nullptr : &*found;
}

bool holds(const std::string& dir, const char* file) {
  return fs::is_regular_file(fs::path(dir) / file);
}

// The set whose files lie in `dir`, by their names; null if none. MNIST and Fashion-MNIST differ only in the folder's
// name.
const DatasetInfo* detect(const std::string& dir) {
  if (holds(dir, "data_batch_1.bin") || holds(dir, "test_batch.bin")) return find_info("cifar10");
  if (holds(dir, "fine_label_names.txt")) return find_info("cifar100");
  if (find_idx_file(dir, "train-images-idx3-ubyte").empty() && find_idx_file(dir, "t10k-images-idx3-ubyte").empty())
    return nullptr;
  fs::path path = fs::absolute(dir).lexically_normal();
  while (path.filename().empty() || path.filename() == "raw")
    path = path.parent_path();  // torchvision's FashionMNIST/raw
  std::string folder = path.filename().string();
  std::transform(folder.begin(), folder.end(), folder.begin(), [](unsigned char c) { return std::tolower(c); });
  return find_info(folder.find("fashion") == std::string::npos ? "mnist" : "fashion-mnist");
}

// All names in one line, for messages.
std::string joined_names() {
  std::string text;
  for (const DatasetInfo& info : kDatasets) text += (text.empty() ? "" : ", ") + info.name;
  return text;
}

}  // namespace

std::span<const uint8_t> Dataset::image(int64_t index) const {
  const int64_t end = (index + 1) * image_size();
  PLEAT_CHECK(index >= 0 && index < size() && end <= static_cast<int64_t>(images.size()), "data set ", name,
              ": no image ", index, ", it has ", size(), " labels and ", images.size(), " bytes of images");
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

const DatasetInfo& dataset_info(const std::string& name_or_dir) {
  if (const DatasetInfo* const info = find_info(name_or_dir)) return *info;
  PLEAT_CHECK(fs::is_directory(name_or_dir), "data set '", name_or_dir, "': neither a folder nor one of ",
              joined_names());
  const DatasetInfo* const info = detect(name_or_dir);
  PLEAT_CHECK(info != nullptr, "data set '", name_or_dir, "': the folder holds the files of none of ", joined_names());
  return *info;
}

std::string find_dataset(const std::string& name) {
  const DatasetInfo* const info = find_info(name);
  PLEAT_CHECK(info != nullptr, "data set '", name, "': unknown, expected one of ", joined_names());
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
  throw std::runtime_error(concat("data set '", name, "' not found: looked in ", looked_in,
                                  root ? "" : " ($PLEAT_DATA is not set)", "\nhint: get it with `pleat data fetch ",
                                  name, "`",
                                  name == "fashion-mnist" ? " or `apt-get install dataset-fashion-mnist`" : ""));
}

Dataset load_dataset(const std::string& name_or_dir, Split split) {
  const DatasetInfo& info = dataset_info(name_or_dir);
  const std::string dir = info.name == name_or_dir ? find_dataset(info.name) : name_or_dir;
  if (info.name == "cifar10") return read_cifar10(dir, split);
  if (info.name == "cifar100") return read_cifar100(dir, split);
  return read_idx(info, dir, split, info.name == "mnist" ? kDigits : kClothes);
}

}  // namespace pleat
