// Reading data sets: the right values from good files, and a clear error for every kind of bad file.
#include <doctest/doctest.h>
#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "data/cifar.hpp"
#include "data/dataset.hpp"
#include "data/fetch.hpp"
#include "data/idx.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

const std::string kFixtures = "tests/fixtures/data";

// The pixels by the formula of tests/fixtures/make_data.py.
uint8_t pixel(int image, int channel, int y, int x) {
  return static_cast<uint8_t>(image * 31 + channel * 57 + y * 7 + x * 3);
}

// The number of bytes that differ from the formula. Picture 0 of the data set is picture `first` of the formula.
int64_t wrong_pixels(const Dataset& set, int first) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < set.size(); ++i)
    for (int y = 0; y < set.height; ++y)
      for (int x = 0; x < set.width; ++x)
        for (int c = 0; c < set.channels; ++c)
          wrong += set.image(i)[(y * set.width + x) * set.channels + c] != pixel(first + static_cast<int>(i), c, y, x);
  return wrong;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

void write_gzip(const std::string& path, const std::string& bytes) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

// Runs `body` with $PLEAT_DATA set to `value` (or unset if it is empty) and restores the old value.
void with_pleat_data(const std::string& value, const std::function<void()>& body) {
  const char* const old = std::getenv("PLEAT_DATA");
  const std::string saved = old ? old : "";
  value.empty() ? unsetenv("PLEAT_DATA") : setenv("PLEAT_DATA", value.c_str(), 1);
  body();
  old ? setenv("PLEAT_DATA", saved.c_str(), 1) : unsetenv("PLEAT_DATA");
}

// Copies a fixture folder, edits one file (or removes it if `edit` returns an empty text) and returns the error of
// reading it.
std::string error_after(const std::string& folder, const std::string& file,
                        const std::function<std::string(std::string)>& edit) {
  const TempDir dir;
  fs::copy(kFixtures + '/' + folder, dir.path(folder));
  const std::string path = dir.path(folder) + '/' + file, changed = edit(read_text(path));
  changed.empty() ? void(fs::remove(path)) : write_text(path, changed);
  const std::string error = error_of<std::runtime_error>([&] { load_dataset(dir.path(folder), Split::train); });
  INFO("error: ", error);
  CHECK(error.find(dir.path(folder) + '/' + file) == 0);
  return error;
}

// The edit that sets one byte.
std::function<std::string(std::string)> byte(std::size_t offset, int value) {
  return [=](std::string bytes) { return bytes.at(offset) = static_cast<char>(value), bytes; };
}

// A CIFAR-100 folder with the given records' label bytes.
void write_cifar100(const std::string& dir, const std::string& records) {
  std::string names;
  for (int i = 0; i < 100; ++i) names += "class" + std::to_string(i) + '\n';
  write_text(dir + "/fine_label_names.txt", names);
  write_text(dir + "/train.bin", records);
}

#define CHECK_SAYS(error, part)                  \
  do {                                           \
    const std::string said = (error);            \
    INFO("error: ", said);                       \
    CHECK(said.find(part) != std::string::npos); \
  } while (false)

}  // namespace

TEST_CASE("CIFAR-10: planes become NHWC, in the order of the files") {
  const std::string dir = kFixtures + "/cifar-10-batches-bin";
  const Dataset train = load_dataset(dir, Split::train), test = load_dataset(dir, Split::test);
  CHECK(train.name == "cifar10");
  REQUIRE(train.size() == 20);
  REQUIRE(test.size() == 4);
  CHECK(train.image_size() == 32 * 32 * 3);
  CHECK(wrong_pixels(train, 0) == 0);
  CHECK(wrong_pixels(test, 20) == 0);
  for (int i = 0; i < 20; ++i) CHECK(train.labels[i] == i % 10);
  REQUIRE(train.classes.size() == 10);
  CHECK(train.classes[0] == "airplane");
  CHECK(train.classes[9] == "truck");
  CHECK_THROWS_AS(train.image(20), std::invalid_argument);
  CHECK_THROWS_AS(train.image(-1), std::invalid_argument);
}

TEST_CASE("CIFAR-100: the fine label is used") {
  const TempDir dir;
  write_cifar100(dir.path(), std::string("\x05\x63", 2) + std::string(3072, '\x11') + std::string("\x13\x00", 2) +
                                 std::string(3072, '\x22'));
  const Dataset set = load_dataset(dir.path(), Split::train);
  CHECK(set.name == "cifar100");
  CHECK(set.labels == std::vector<int32_t>{99, 0});
  CHECK(set.images.front() == 0x11);
  CHECK(set.images.back() == 0x22);
  CHECK(set.classes[99] == "class99");

  write_cifar100(dir.path(), std::string("\x05\x64", 2) + std::string(3072, '\0'));
  CHECK_SAYS(error_of<std::runtime_error>([&] { load_dataset(dir.path(), Split::train); }),
             "label 100, expected 0 to 99");
}

TEST_CASE("idx files are read plain and gzipped") {
  for (const char* name : {"mnist", "fashion-mnist"}) {
    CAPTURE(name);
    const Dataset train = load_dataset(kFixtures + '/' + name, Split::train),
                  test = load_dataset(kFixtures + '/' + name, Split::test);
    CHECK(train.name == name);
    REQUIRE(train.size() == 6);
    REQUIRE(test.size() == 3);
    CHECK(train.height == 28);
    CHECK(train.channels == 1);
    CHECK(wrong_pixels(train, 0) == 0);
    CHECK(wrong_pixels(test, 0) == 0);
    CHECK(train.labels == std::vector<int32_t>{9, 8, 7, 6, 5, 4});
    CHECK(train.classes.size() == 10);
  }
}

TEST_CASE("a CIFAR file with another number of records than the official file is read with a warning") {
  const std::string dir = kFixtures + "/cifar-10-batches-bin";
  CHECK(load_dataset(dir, Split::test).warning ==
        dir + "/test_batch.bin: holds 4 records, while the official file holds 10000");
  const TempDir whole;
  const std::string record = std::string(2, '\0') + std::string(3072, '\1');
  std::string records;
  for (int i = 0; i < 50000; ++i) records += record;
  write_cifar100(whole.path(), records);
  CHECK(load_dataset(whole.path(), Split::train).warning.empty());
  write_cifar100(whole.path(), records.substr(record.size()));
  CHECK_SAYS(load_dataset(whole.path(), Split::train).warning,
             "train.bin: holds 49999 records, while the official file holds 50000");
}

TEST_CASE("idx files of other data sets may have any size, and classes are counted over both splits") {
  const TempDir dir;
  const std::string folder = dir.path("kmnist");
  fs::create_directory(folder);
  const auto write = [&](const std::string& split, const std::string& labels) {
    const auto n = static_cast<char>(labels.size());
    write_text(
        folder + '/' + split + "-images-idx3-ubyte",
        std::string("\0\0\x08\x03\0\0\0", 7) + n + std::string("\0\0\0\3\0\0\0\2", 8) + std::string(6 * n, '\x33'));
    write_text(folder + '/' + split + "-labels-idx1-ubyte", std::string("\0\0\x08\x01\0\0\0", 7) + n + labels);
  };
  write("train", std::string("\0\x0b\2", 3));
  write("t10k", "\1");
  const Dataset train = load_dataset(folder, Split::train), test = load_dataset(folder, Split::test);
  CHECK((train.name == "idx" && train.height == 3 && train.width == 2 && train.size() == 3));
  CHECK(train.classes.size() == 12);
  CHECK(test.classes == train.classes);
  CHECK(test.classes[11] == "11");
  const DatasetInfo info = dataset_info(folder);
  CHECK((info.height == 3 && info.width == 2 && info.channels == 1 && info.classes == 12));
  CHECK(info.mean[0] == doctest::Approx(0.2));  // 0x33 of 255
  write("train", std::string(256, '\0').substr(0, 0));
  CHECK_SAYS(error_of<std::runtime_error>([&] { load_dataset(folder, Split::train); }), "holds 0 images");
}

TEST_CASE("bad CIFAR files are refused") {
  const char* const folder = "cifar-10-batches-bin";
  const auto edit = [&](const char* file, const std::function<std::string(std::string)>& f) {
    return error_after(folder, file, f);
  };
  CHECK_SAYS(edit("data_batch_3.bin", [](std::string) { return ""; }), "No such file");
  CHECK_SAYS(edit("data_batch_2.bin", [](std::string s) { return s.substr(0, s.size() - 1); }),
             "record 3 at offset 9219 is incomplete");
  CHECK_SAYS(edit("data_batch_2.bin", [](std::string s) { return s + 'x'; }), "expected records of 3073 bytes");
  CHECK_SAYS(edit("data_batch_5.bin", byte(2 * 3073, 10)), "record 2 at offset 6146 has label 10, expected 0 to 9");
  CHECK_SAYS(edit("data_batch_5.bin", byte(0, '\xff')), "label 255");
  CHECK_SAYS(edit("batches.meta.txt", [](std::string s) { return s + "eleventh\n"; }), "11 class names, expected 10");
  CHECK_SAYS(edit("batches.meta.txt", [](std::string) { return ""; }), "No such file");

  const TempDir dir;
  fs::copy(kFixtures + "/cifar-10-batches-bin", dir.path("c"));
  write_text(dir.path("c/test_batch.bin"), "");
  CHECK_SAYS(error_of<std::runtime_error>([&] { load_dataset(dir.path("c"), Split::test); }), "is 0 bytes long");
}

TEST_CASE("bad idx files are refused") {
  const std::string images = "train-images-idx3-ubyte", labels = "train-labels-idx1-ubyte";
  const auto edit = [&](const std::string& file, const std::function<std::string(std::string)>& f) {
    return error_after("mnist", file, f);
  };
  CHECK_SAYS(edit(labels, [](std::string) { return ""; }), "is missing, and so is train-labels-idx1-ubyte.gz");
  CHECK_SAYS(edit(images, byte(3, 1)), "magic number at offset 0 is 2049, expected 2051");
  CHECK_SAYS(edit(labels, byte(2, 0xD)), "magic number at offset 0 is 3329, expected 2049");
  CHECK_SAYS(edit(images, [](std::string s) { return s.substr(0, 10); }), "ends at offset 10");
  CHECK_SAYS(edit(images, [](std::string s) { return s.substr(0, s.size() - 1); }), "ends at offset 4719");
  CHECK_SAYS(edit(images, [](std::string s) { return s + 'x'; }), "continues after offset 4720");
  CHECK_SAYS(edit(images, byte(11, 29)), "images are 29x28, expected 28x28");
  CHECK_SAYS(edit(images, byte(4, '\xff')), "images, expected 1 to 10000000");
  CHECK_SAYS(edit(images, byte(7, 0)), "holds 0 images");
  CHECK_SAYS(edit(labels, byte(7, 5)), "holds 5 labels, expected 6");
  CHECK_SAYS(edit(labels, byte(10, 10)), "label 2 at offset 10 is 10, expected 0 to 9");
  CHECK_SAYS(edit(labels, [](std::string s) { return s.substr(0, s.size() - 2); }), "ends at offset 12");

  // A header that claims ten million pictures must not make the reader allocate memory for them; it must find the end
  // of the file first.
  const TempDir dir;
  fs::copy(kFixtures + "/mnist", dir.path("m"));
  for (const std::string& file : {images, labels})
    write_text(dir.path("m/") + file, read_text(kFixtures + "/mnist/" + file).replace(4, 4, "\0\x98\x96\x80", 4));
  CHECK_SAYS(error_of<std::runtime_error>([&] { load_dataset(dir.path("m"), Split::train); }), "ends at offset 4720");
}

TEST_CASE("bad gzip files are refused") {
  const std::string images = "train-images-idx3-ubyte.gz";
  const auto edit = [&](const std::function<std::string(std::string)>& f) {
    return error_after("fashion-mnist", images, f);
  };
  CHECK_SAYS(edit([](std::string s) { return s.substr(0, s.size() / 2); }), "offset");
  CHECK_SAYS(edit([](std::string s) { return s.substr(0, s.size() - 3); }), "offset");   // its check sum is cut
  CHECK_SAYS(edit([](std::string s) { return s.at(s.size() - 6) ^= 1, s; }), "offset");  // its check sum is wrong
  CHECK_SAYS(edit([](std::string s) { return s.at(s.size() / 2) ^= 64, s; }), "");  // whatever breaks, it is an error

  const TempDir dir;
  fs::copy(kFixtures + "/fashion-mnist", dir.path("fashion"));
  write_gzip(dir.path("fashion/" + images),
             std::string("\0\0\x08\x03\0\0\0\x06\0\0\0\x1c\0\0\0\x1c", 16) + std::string(4705, '\0'));
  CHECK_SAYS(error_of<std::runtime_error>([&] { load_dataset(dir.path("fashion"), Split::train); }),
             "continues after offset 4720");
}

TEST_CASE("data sets are found by name, and the error for a missing one lists the folders searched") {
  with_pleat_data(fs::absolute(kFixtures).string(), [] {
    CHECK(load_dataset("cifar10", Split::test).size() == 4);
    CHECK(load_dataset("mnist", Split::test).name == "mnist");
    CHECK(load_dataset("fashion-mnist", Split::test).name == "fashion-mnist");
  });
  with_pleat_data(kFixtures + "/mnist", [] { CHECK(find_dataset("mnist") == kFixtures + "/mnist"); });

  const TempDir dir;
  with_pleat_data(dir.path(), [&] {
    if (fs::exists("local/cifar-100-binary")) {
      MESSAGE("skipped: cifar100 is in ./local");
      return;
    }
    const std::string error = error_of<std::runtime_error>([] { load_dataset("cifar100", Split::train); });
    CHECK_SAYS(error, dir.path("cifar-100-binary"));
    CHECK_SAYS(error, "./local/cifar-100-binary");
    CHECK_SAYS(error, "\nhint: download it with `pleat data fetch cifar100`");
  });
  CHECK_SAYS(error_of<std::invalid_argument>([&] { load_dataset(dir.path(), Split::train); }),
             "the folder contains neither the files of one of");
  CHECK_SAYS(error_of<std::invalid_argument>([] { load_dataset("cifar1000", Split::train); }),
             "neither a folder nor one of cifar10");
  CHECK_THROWS_AS(find_dataset("nonsense"), std::invalid_argument);
}

TEST_CASE("every known data set has a normalisation and an official source") {
  for (const std::string& name : dataset_names()) {
    const DatasetInfo& info = dataset_info(name);
    CHECK(info.mean.size() == static_cast<std::size_t>(info.channels));
    CHECK(info.std.size() == static_cast<std::size_t>(info.channels));
    CHECK(official_source(name).folder == info.folders.front());
    for (const Source::File& file : official_source(name).files) CHECK(file.md5.size() == 32);
  }
}

TEST_CASE("fetch downloads, verifies and unpacks, and leaves no incomplete folder") {
  if (std::system("curl --version >/dev/null 2>&1 && md5sum --version >/dev/null 2>&1") != 0) {
    MESSAGE("skipped: curl and md5sum are not installed");
    return;
  }
  const TempDir dir;
  const std::string from = "file://" + fs::absolute(kFixtures).string();
  const auto quiet = [](const std::string&) {};
  const Source archive{{{from + "/tiny.tar.gz", "d2c32ffbc6d986ae14b42d9a7a8a9d43"}}, "tiny", true};
  CHECK(fetch(archive, dir.path("new/root"), quiet) == dir.path("new/root/tiny"));
  CHECK(read_text(dir.path("new/root/tiny/file.txt")) == "unpacked\n");
  CHECK_FALSE(fs::exists(dir.path("new/root/tiny.part")));
  CHECK_SAYS(error_of<std::runtime_error>([&] { fetch(archive, dir.path("new/root"), quiet); }), "exists already");

  const std::string labels = "/mnist/train-labels-idx1-ubyte", md5 = "a3ad40dae95232735b78de5398751079";
  fs::create_directory(dir.path("files.part"));
  write_text(dir.path("files.part/train-labels-idx1-ubyte"),
             read_text(kFixtures + labels).substr(0, 5));  // interrupted
  CHECK(fetch({{{from + labels, md5}}, "files", false}, dir.path(), quiet) == dir.path("files"));
  CHECK(read_text(dir.path("files/train-labels-idx1-ubyte")) == read_text(kFixtures + labels));

  const Source wrong{{{from + labels, std::string(32, '0')}}, "wrong", false};
  CHECK_SAYS(error_of<std::runtime_error>([&] { fetch(wrong, dir.path(), quiet); }),
             "the MD5 sum is " + md5 + ", expected 000");
  CHECK_FALSE(fs::exists(dir.path("wrong")));
  CHECK_FALSE(fs::exists(dir.path("wrong.part/train-labels-idx1-ubyte")));

  write_text(dir.path("broken.tar.gz"), "no archive");
  const Source broken{{{"file://" + dir.path("broken.tar.gz"), "e7870f97196c5a5a5bc170081adb83fc"}}, "broken", true};
  CHECK_SAYS(error_of<std::runtime_error>([&] { fetch(broken, dir.path(), quiet); }),
             "broken.tar.gz: tar failed with exit status");
  CHECK_FALSE(fs::exists(dir.path("broken")));

  const Source absent{{{from + "/absent", md5}}, "absent", false};
  const std::string error = error_of<std::runtime_error>([&] { fetch(absent, dir.path(), quiet); });
  CHECK_SAYS(error, "/absent: curl failed with exit status 37: curl: (37)");
  CHECK_SAYS(error, "\nhint: ");
}

TEST_CASE("the real CIFAR-10 has the published statistics") {
  if (std::getenv("PLEAT_DATA") == nullptr) {
    MESSAGE("skipped: PLEAT_DATA is not set");
    return;
  }
  std::string dir;
  const std::string absent = error_of<std::runtime_error>([&] { dir = find_dataset("cifar10"); });
  if (dir.empty()) {
    MESSAGE("skipped: ", absent);
    return;
  }
  const Dataset train = load_dataset(dir, Split::train), test = load_dataset(dir, Split::test);
  REQUIRE(train.size() == 50000);
  CHECK(test.size() == 10000);
  std::vector<int> images_of(10);
  for (int32_t label : train.labels) ++images_of[label];
  CHECK(images_of == std::vector<int>(10, 5000));
  const std::vector<double> means = {0.4914, 0.4822, 0.4465}, deviations = {0.2470, 0.2435, 0.2616};
  for (int c = 0; c < 3; ++c) {
    int64_t sum = 0, squares = 0;
    for (std::size_t i = c; i < train.images.size(); i += 3) {
      sum += train.images[i];
      squares += train.images[i] * train.images[i];
    }
    const double n = static_cast<double>(train.images.size()) / 3, mean = static_cast<double>(sum) / n;
    CHECK(std::abs(mean / 255 - means[c]) < 1e-4);
    CHECK(std::abs(std::sqrt(static_cast<double>(squares) / n - mean * mean) / 255 - deviations[c]) < 1e-4);
  }
}

}  // namespace pleat
