// Folders of pictures: what is found in them, its labels, batches of files with broken ones among them, and the index
// by which a run tells whether its pictures are still the same.
#include "data/image_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/file.hpp"
#include "core/utf8.hpp"
#include "data/loader.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

const std::string kFolders = "tests/fixtures/data/folders";
const PictureFormat kFormat{24, 24, 3, {0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}, 0.875, Interpolation::bilinear};

std::string copy_of_folders(const TempDir& dir) {
  fs::copy(kFolders, dir.path("set"), fs::copy_options::recursive);
  return dir.path("set");
}

void cut(const std::string& path) {
  fs::resize_file(path, fs::file_size(path) / 2);
}

std::string error_reading(const std::string& dir, Split split, const std::vector<std::string>& list = {}) {
  return error_of<std::runtime_error>([&] { load_dataset(dir, split, list); });
}

struct Epoch {
  std::vector<float> images;
  std::vector<int32_t> labels;
  std::vector<int64_t> sizes;
  bool operator==(const Epoch&) const = default;
};

Epoch epoch_of(Loader& loader, int64_t epoch = 0, int64_t first = 0) {
  Epoch all;
  loader.start_epoch(epoch, first);
  while (const Batch* batch = loader.next()) {
    all.images.insert(all.images.end(), batch->images.begin(), batch->images.end());
    all.labels.insert(all.labels.end(), batch->labels.begin(), batch->labels.end());
    all.sizes.push_back(batch->size);
  }
  return all;
}

LoaderOptions training(int threads, bool skip = false) {
  return {.batch = 2,
          .augment = Augment{.resized_crop = true},
          .shuffle = true,
          .drop_last = true,
          .skip_broken = skip,
          .seed = 3,
          .threads = threads};
}

}  // namespace

TEST_CASE("image folders: files by class, labels by the sorted folders") {
  const Dataset train = load_dataset(kFolders, Split::train), test = load_dataset(kFolders, Split::test);
  CHECK(train.classes == std::vector<std::string>{"n01", "n02"});
  CHECK(train.labels == std::vector<int32_t>{0, 0, 0, 1, 1, 1});
  CHECK(train.files[4].path == "n02/1.JPEG");
  CHECK(train.files[4].size == static_cast<int64_t>(fs::file_size(kFolders + "/train/n02/1.JPEG")));
  CHECK(test.labels == std::vector<int32_t>{0, 0, 1, 1});
  CHECK(holds(test.warning,
              "/val: 1 files are passed over, as no picture of a class by their names or places: n02/notes.txt"));
  CHECK(train.warning.empty());
  const DatasetInfo info = dataset_info(kFolders);
  CHECK((info.height == 0 && info.channels == 3 && info.classes == 2 && info.mean[0] == 0.485f));

  const Dataset val = load_dataset(kFolders + "/val", Split::test);  // class folders alone
  CHECK(val.labels == test.labels);
  CHECK(val.files == test.files);
  CHECK(holds(error_reading(kFolders + "/val", Split::train), "/val: has no training pictures"));

  Picture decoded;
  const Pixels picture = train.picture(1, decoded);
  CHECK((picture.height == 42 && picture.width == 44 && picture.step == 4));
  CHECK_THROWS_AS(train.picture(6, decoded), std::invalid_argument);
  CHECK_THROWS_AS(train.picture(-1, decoded), std::invalid_argument);
  CHECK_THROWS_AS(train.image(0), std::invalid_argument);
}

TEST_CASE("image folders: a class list gives the labels") {
  const std::vector<std::string> list = {"n00", "n02", "n03", "n01"};
  const Dataset set = load_dataset(kFolders, Split::test, list);
  CHECK(set.labels == std::vector<int32_t>{3, 3, 1, 1});
  CHECK(set.classes == list);
  CHECK(holds(error_reading(kFolders, Split::test, {"n01", "n03"}),
              "/val/n02: is none of the 2 classes of the class list"));

  const TempDir dir;
  write_file(dir.path("list"), std::string("\xEF\xBB\xBFn00\r\nn02\n\nn03\nn01"));
  CHECK(read_class_list(dir.path("list")) == list);
  CHECK(read_class_list(kFolders + "/train") == std::vector<std::string>{"n01", "n02"});
  write_file(dir.path("list"), std::string("a\nb\na\n"));
  CHECK(holds(error_of<std::runtime_error>([&] { read_class_list(dir.path("list")); }), "names class 'a' twice"));
  write_file(dir.path("list"), std::string("\n"));
  CHECK(holds(error_of<std::runtime_error>([&] { read_class_list(dir.path("list")); }), "names no classes"));
  CHECK_THROWS_AS(load_dataset("tests/fixtures/data/mnist", Split::test, list), std::invalid_argument);
}

TEST_CASE("image folders: inner folders belong to their class, other files are counted and named") {
  const TempDir dir;
  for (const char* folder : {"set/a/inner/most", "set/b"}) fs::create_directories(dir.path(folder));
  const std::string picture = kFolders + "/train/n01/0.JPEG";
  fs::copy(picture, dir.path("set/a/2.jpg"));
  fs::copy(picture, dir.path("set/a/inner/1.jpg"));
  fs::copy(picture, dir.path("set/a/inner/most/0.jpg"));
  fs::copy("tests/fixtures/data/sharp.ppm", dir.path("set/b/0.ppm"));
  fs::copy(picture, dir.path("set/stray.jpg"));
  for (int i = 0; i < 6; ++i) write_file(dir.path("set/b/inside" + std::to_string(i) + ".webp"), std::string("RIFF"));
  const Dataset set = load_dataset(dir.path("set"), Split::test);
  CHECK(set.labels == std::vector<int32_t>{0, 0, 0, 1});
  CHECK(set.files[2].path == "a/inner/most/0.jpg");
  CHECK(holds(set.warning, ": 7 files are passed over"));
  CHECK(
      holds(set.warning, "b/inside0.webp, b/inside1.webp, b/inside2.webp, b/inside3.webp, b/inside4.webp and 2 more"));
}

TEST_CASE("image folders: without labels, pictures may lie anywhere") {
  const Dataset train = load_unlabelled(kFolders), all = load_unlabelled(kFolders + "/val");
  CHECK(train.size() == 6);
  CHECK(train.files[0].path == "n01/0.JPEG");
  CHECK(all.labels == std::vector<int32_t>(4, 0));
  CHECK(holds(all.warning, "/val: 1 files are passed over, as no picture by their names: n02/notes.txt"));
  CHECK(load_unlabelled(kFolders + "/val/n01").size() == 2);
  CHECK_THROWS_AS(load_unlabelled("nowhere"), std::invalid_argument);
  const TempDir dir;
  CHECK(holds(error_of<std::runtime_error>([&] { load_unlabelled(dir.path()); }), "holds no JPEG"));
}

TEST_CASE("image folders: the test pictures may be called validation, valid or test; CIFAR for Python is named") {
  for (const char* name : {"validation", "valid", "test"}) {
    const TempDir dir;
    const std::string set = copy_of_folders(dir);
    fs::rename(set + "/val", set + '/' + name);
    CHECK(load_dataset(set, Split::test).size() == 4);
    CHECK(load_dataset(set, Split::train).size() == 6);
  }
  const TempDir dir;
  fs::create_directories(dir.path("cifar-10-batches-py"));
  write_file(dir.path("cifar-10-batches-py/data_batch_1"), std::string("pickle"));
  for (const std::string& place : {dir.path(), dir.path("cifar-10-batches-py")})
    CHECK(holds(
        error_reading(place, Split::test),
        "cifar-10-batches-py: is CIFAR's version for Python, which is not read\nhint: `pleat data fetch cifar10`"));
}

TEST_CASE("image folders: class names that are not UTF-8 are refused at once") {
  for (const char* name : {"caf\xE9", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF"}) {
    CAPTURE(name);
    CHECK(!is_utf8(name));
    const TempDir dir;
    std::filesystem::create_directories(dir.path(std::string("train/") + name));
    std::filesystem::create_directories(dir.path(std::string("val/") + name));
    const std::string error = error_of<std::runtime_error>([&] { read_image_folder(dir.path(), Split::train, {}); });
    CHECK(holds(error, "is not UTF-8"));
  }
  for (const char* name : {"", "cat", "caf\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x90\x88", "\xED\x9F\xBF"})
    CHECK(is_utf8(name));
}

TEST_CASE("image folders that are not whole are refused") {
  const TempDir dir;
  const std::string set = copy_of_folders(dir);
  fs::create_directory(set + "/val/n03");
  CHECK(holds(error_reading(set, Split::test), "/val/n03: is none of the 2 classes of the training pictures"));
  fs::create_directory(set + "/train/n03");
  CHECK(holds(error_reading(set, Split::train), "/train/n03: holds no JPEG, PNG, BMP, PPM or PGM files"));
  fs::remove_all(set + "/val");
  CHECK(holds(error_reading(set, Split::test), set + ": has no pictures to test on: expected a folder val, "));
  fs::remove_all(set + "/train");
  fs::create_directory(set + "/train");
  CHECK(holds(error_reading(set, Split::train), set + "/train: holds no class folders"));
  CHECK(!is_image_folder(dir.path()));
}

TEST_CASE("image folders: batches depend on nothing but seed, epoch and batch size") {
  const Dataset set = load_dataset(kFolders, Split::train);
  Loader one(set, kFormat, training(1)), three(set, kFormat, training(3));
  const Epoch first = epoch_of(one);
  CHECK(first.sizes == std::vector<int64_t>{2, 2, 2});
  std::vector<int32_t> labels = first.labels;
  std::sort(labels.begin(), labels.end());
  CHECK(labels == set.labels);
  for (int repeat = 0; repeat < 5; ++repeat) CHECK(epoch_of(three) == first);
  CHECK(epoch_of(one, 1).images != first.images);
  const Epoch rest = epoch_of(three, 0, 2);
  CHECK(std::equal(rest.images.begin(), rest.images.end(), first.images.begin() + 2 * 2 * 24 * 24 * 3,
                   first.images.end()));
}

TEST_CASE("image folders: evaluation sees the centre, in order") {
  const Dataset set = load_dataset(kFolders, Split::train);
  Loader loader(set, kFormat, {.batch = 4, .threads = 2});
  const Epoch epoch = epoch_of(loader);
  CHECK(epoch.labels == set.labels);
  const Picture picture = load_picture(kFolders + "/train/n02/1.JPEG", 3);
  std::vector<uint8_t> seen(24 * 24 * 3);
  resample(seen, picture.pixels(), 3, centre_view(picture.height, picture.width, 24, 24, 0.875),
           Interpolation::bilinear);
  double worst = 0;
  for (std::size_t i = 0; i < seen.size(); ++i)
    worst = std::max(worst, std::abs(epoch.images[4 * seen.size() + i] - (seen[i] / 255.0 - 0.5) / 0.25));
  CHECK(worst < 1e-6);
}

TEST_CASE("image folders: a broken file is refused, or passed over and named") {
  const TempDir dir;
  const std::string root = copy_of_folders(dir);
  cut(root + "/train/n01/1.JPEG");
  const Dataset set = load_dataset(root, Split::train);
  const auto read = [&](LoaderOptions options) {
    Loader loader(set, kFormat, options);
    const Epoch epoch = epoch_of(loader);
    return std::pair{epoch, loader.broken()};
  };
  CHECK(holds(error_of<std::runtime_error>([&] { read(training(2)); }),
              "n01/1.JPEG: is a JPEG file that ends too early"));
  CHECK(holds(error_of<std::runtime_error>([&] { read({.batch = 3}); }), "n01/1.JPEG: "));

  const auto [test, missing] = read({.batch = 3, .skip_broken = true, .threads = 2});
  CHECK(test.sizes == std::vector<int64_t>{2, 3});
  CHECK(test.labels == std::vector<int32_t>{0, 0, 1, 1, 1});
  REQUIRE(missing.size() == 1);
  CHECK(missing.begin()->first == 1);
  CHECK(holds(missing.begin()->second, "n01/1.JPEG: "));

  // In training its place is taken: batches stay full, and the same with any number of threads.
  const auto [one, broken] = read(training(1, true));
  CHECK(one.sizes == std::vector<int64_t>{2, 2, 2});
  CHECK(broken == missing);
  for (int repeat = 0; repeat < 5; ++repeat) CHECK(read(training(3, true)).first == one);

  for (const PictureFile& file : set.files) fs::resize_file(root + "/train/" + file.path, 10);
  CHECK(holds(error_of<std::runtime_error>([&] { read(training(2, true)); }), "none of its 6 pictures can be read"));
  CHECK(read({.batch = 3, .skip_broken = true}).first.sizes == std::vector<int64_t>{0, 0});
}

TEST_CASE("image folders: the index tells what has changed") {
  const TempDir dir;
  const std::string root = copy_of_folders(dir), index = dir.path("pictures.index");
  const auto error = [&] {
    const Dataset train = load_dataset(root, Split::train), test = load_dataset(root, Split::test);
    return error_of<std::runtime_error>([&] { check_index(index, {&train, &test}); });
  };
  const Dataset train = load_dataset(root, Split::train), test = load_dataset(root, Split::test);
  write_index(index, {&train, &test});
  CHECK(error() == "no error");
  const auto time = fs::last_write_time(root + "/train/n02/1.JPEG");
  fs::rename(root + "/train/n02/1.JPEG", root + "/train/n02/5.JPEG");
  CHECK(holds(error(), "train/n02/1.JPEG is gone"));
  fs::copy(root + "/train/n02/5.JPEG", root + "/train/n02/1.JPEG");
  fs::remove(root + "/train/n02/5.JPEG");
  CHECK(holds(error(), "train/n02/1.JPEG has changed"));  // the same size, another time
  fs::last_write_time(root + "/train/n02/1.JPEG", time);
  CHECK(error() == "no error");
  cut(root + "/val/n01/0.JPEG");
  CHECK(holds(error(), "val/n01/0.JPEG has changed"));
  fs::copy(root + "/val/n01/1.JPEG", root + "/train/n01/00.JPEG");
  CHECK(holds(error(), "train/n01/00.JPEG is new"));
  fs::remove(index);
  CHECK(holds(error(), index + ": cannot open: No such file"));

  fs::rename(root + "/val/n01/1.JPEG", root + "/val/n01/1\n.JPEG");
  const Dataset odd = load_dataset(root, Split::test);
  CHECK(holds(error_of<std::runtime_error>([&] { write_index(index, {&odd}); }), "the name has a line break in it"));
}

}  // namespace pleat
