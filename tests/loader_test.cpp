// Compares augmentation with a naive implementation, and checks that batches depend only on (seed, epoch, batch size).
#include "data/loader.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>
#include <vector>

#include "data/augment.hpp"

namespace pleat {
namespace {

const std::vector<float> kMean = {0.4914f, 0.4822f, 0.4465f}, kStd = {0.2023f, 0.1994f, 0.2010f};

// A data set of random pixels. The label of a picture is its index, so a batch shows the order of its pictures.
Dataset numbered(int images, int height = 8, int width = 6) {
  Dataset set{"numbered", height, width, 3, {}, {}, std::vector<std::string>(images, "")};
  Rng rng(1);
  for (int64_t i = 0; i < images * set.image_size(); ++i) set.images.push_back(static_cast<uint8_t>(rng.below(256)));
  set.labels.resize(images);
  std::iota(set.labels.begin(), set.labels.end(), 0);
  return set;
}

// The definition in double precision: pad with black pixels, crop, mirror, normalise.
std::vector<double> naive(const Dataset& set, std::span<const uint8_t> image, int pad, const Placement& p) {
  const int h = set.height, w = set.width, c = set.channels, padded_width = w + 2 * pad;
  std::vector<uint8_t> padded((h + 2 * pad) * padded_width * c, 0);
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w * c; ++x) padded[(y + pad) * padded_width * c + pad * c + x] = image[y * w * c + x];
  std::vector<double> out;
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x)
      for (int k = 0; k < c; ++k) {
        const int column = p.mirrored ? w - 1 - x : x;
        const double value = padded[((y + pad + p.dy) * padded_width + column + pad + p.dx) * c + k] / 255.0;
        out.push_back((value - kMean[k]) / kStd[k]);
      }
  return out;
}

struct Epoch {
  std::vector<float> images;
  std::vector<int32_t> labels;
  std::vector<int64_t> sizes;
  bool operator==(const Epoch&) const = default;
};

Epoch rest_of_epoch(Loader& loader) {
  Epoch epoch;
  while (const Batch* batch = loader.next()) {
    epoch.images.insert(epoch.images.end(), batch->images.begin(), batch->images.end());
    epoch.labels.insert(epoch.labels.end(), batch->labels.begin(), batch->labels.end());
    epoch.sizes.push_back(batch->size);
  }
  return epoch;
}

PictureFormat format_of(const Dataset& set) {
  return {set.height, set.width, set.channels, kMean, kStd};
}

Loader training_loader(const Dataset& set, int threads, uint64_t seed = 7, int64_t batch = 10) {
  return Loader(set, format_of(set),
                {.batch = batch, .augment = Augment{}, .shuffle = true, .seed = seed, .threads = threads});
}

Epoch whole_epoch(const Dataset& set, int threads, int64_t epoch, uint64_t seed = 7) {
  Loader loader = training_loader(set, threads, seed);
  loader.start_epoch(epoch);
  return rest_of_epoch(loader);
}

}  // namespace

TEST_CASE("augmentation equals padding, cropping, mirroring and normalising in turn") {
  const Dataset set = numbered(1);
  const int pad = 9;  // more than the picture is high and wide: also crops that see nothing but black
  const Normalizer normalize(set.height, set.width, set.channels, kMean, kStd);
  std::vector<float> out(set.image_size());
  double worst = 0;
  for (int dy = -pad; dy <= pad; ++dy)
    for (int dx = -pad; dx <= pad; ++dx)
      for (bool mirrored : {false, true}) {
        normalize(out, set.image(0), {dy, dx, mirrored});
        const std::vector<double> expected = naive(set, set.image(0), pad, {dy, dx, mirrored});
        for (std::size_t i = 0; i < out.size(); ++i) worst = std::max(worst, std::abs(out[i] - expected[i]));
      }
  CHECK(worst < 1e-6);  // four roundings of numbers up to 5: 9e-7
}

TEST_CASE("placements are uniform and half of the pictures are mirrored") {
  std::array<int, 9> rows{}, columns{};
  int mirrored = 0;
  const int draws = 18000;
  for (int i = 0; i < draws; ++i) {
    Rng rng(3, i);
    const Placement p = draw_placement(Augment{}, rng);
    REQUIRE(std::max(std::abs(p.dy), std::abs(p.dx)) <= 4);
    ++rows[p.dy + 4], ++columns[p.dx + 4];
    mirrored += p.mirrored;
  }
  for (int i = 0; i < 9; ++i) {  // 2000 each, standard deviation 42
    CHECK(std::abs(rows[i] - 2000) < 5 * 42);
    CHECK(std::abs(columns[i] - 2000) < 5 * 42);
  }
  CHECK(std::abs(mirrored - draws / 2) < 5 * 67);
  Rng rng(3);
  const Placement still = draw_placement({.crop_pad = 0, .flip = false}, rng);
  CHECK((still.dy == 0 && still.dx == 0 && !still.mirrored));
}

TEST_CASE("alternating flips show every picture both ways in two epochs") {
  const Dataset set = numbered(200);
  const auto epoch = [&](int64_t number, bool alternate, int threads) {
    Loader loader(
        set, format_of(set),
        {.batch = 40, .augment = Augment{.crop_pad = 0, .alternate_flip = alternate}, .seed = 7, .threads = threads});
    loader.start_epoch(number);
    return rest_of_epoch(loader);
  };
  const auto plain = [&] {
    Loader loader(set, format_of(set), {.batch = 40, .seed = 7});
    loader.start_epoch(0);
    return rest_of_epoch(loader);
  }();
  const auto as_plain = [&](const Epoch& e) {  // for each picture: it was not mirrored
    std::vector<bool> same;
    for (int64_t i = 0; i < 200; ++i) {
      const auto part = [&](const Epoch& of) {
        return std::span(of.images).subspan(i * set.image_size(), set.image_size());
      };
      same.push_back(std::ranges::equal(part(e), part(plain)));
    }
    return same;
  };
  const std::vector<bool> first = as_plain(epoch(0, true, 1));
  const auto upright = std::ranges::count(first, true);
  CHECK(std::abs(upright - 100) < 5 * 7.1);  // of 200, standard deviation 7.1
  std::vector<bool> inverse = first;
  inverse.flip();
  CHECK(as_plain(epoch(1, true, 1)) == inverse);
  CHECK(as_plain(epoch(2, true, 3)) == first);
  CHECK(as_plain(epoch(7, true, 1)) == inverse);
  CHECK(as_plain(epoch(1, false, 1)) != inverse);
}

TEST_CASE("cutout blanks a square, whose centre is anywhere") {
  constexpr int kHeight = 9, kWidth = 7, kSide = 4;
  std::array<int, kHeight * kWidth> blank{};
  for (int i = 0; i < 6300; ++i) {
    std::vector<float> picture(kHeight * kWidth * 2, 1.0f);
    Rng rng(3, i);
    cut_out(picture, kHeight, kWidth, 2, kSide, rng);
    int rows = 0, columns = 0;
    for (int y = 0; y < kHeight; ++y)
      rows += std::ranges::count(std::span(picture).subspan(y * kWidth * 2, kWidth * 2), 0.0f) > 0;
    for (int x = 0; x < kWidth; ++x) {
      int n = 0;
      for (int y = 0; y < kHeight; ++y) n += picture[(y * kWidth + x) * 2] == 0.0f;
      columns += n > 0;
    }
    REQUIRE((rows >= 2 && rows <= kSide && columns >= 2 && columns <= kSide));
    REQUIRE(std::ranges::count(picture, 0.0f) == rows * columns * 2);  // a rectangle, in all channels
    for (int p = 0; p < kHeight * kWidth; ++p) blank[p] += picture[2 * p] == 0.0f;
  }
  // 16 of the 63 centres blank an inner pixel (1600 of 6300, standard deviation 35), 2 x 2 = 4 of them the last one.
  CHECK(std::abs(blank[4 * kWidth + 3] - 1600) < 5 * 35);
  CHECK(std::abs(blank[kHeight * kWidth - 1] - 400) < 5 * 20);
}

TEST_CASE("normalisation refuses sizes that do not match") {
  const std::vector<float> one(1, 0.5f), zero(3, 0.0f);
  CHECK_THROWS_AS(Normalizer(8, 6, 3, one, kStd), std::invalid_argument);
  CHECK_THROWS_AS(Normalizer(8, 6, 3, kMean, one), std::invalid_argument);
  CHECK_THROWS_AS(Normalizer(8, 6, 3, kMean, zero), std::invalid_argument);
  const Normalizer normalize(8, 6, 3, kMean, kStd);
  std::vector<float> out(8 * 6 * 3 - 1);
  CHECK_THROWS_AS(normalize(out, std::vector<uint8_t>(8 * 6 * 3)), std::invalid_argument);
}

TEST_CASE("an epoch is the same with one thread and with three") {
  const Dataset set = numbered(137);
  const Epoch epoch = whole_epoch(set, 1, 4);
  for (int repeat = 0; repeat < 5; ++repeat) CHECK(whole_epoch(set, 3, 4) == epoch);
  CHECK(whole_epoch(set, 1, 5).labels != epoch.labels);
  CHECK(whole_epoch(set, 1, 4, 8).labels != epoch.labels);

  std::vector<int32_t> sorted = epoch.labels;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == set.labels);  // every image once
  REQUIRE(epoch.sizes.size() == 14);
  CHECK(epoch.sizes.back() == 7);
}

TEST_CASE("a picture has another placement in each epoch, whatever batch it is in") {
  const Dataset set = numbered(40);
  const auto image_of = [&](const Epoch& epoch, int label) {
    const auto index = std::find(epoch.labels.begin(), epoch.labels.end(), label) - epoch.labels.begin();
    return std::vector<float>(epoch.images.begin() + index * set.image_size(),
                              epoch.images.begin() + (index + 1) * set.image_size());
  };
  const Epoch first = whole_epoch(set, 1, 0), second = whole_epoch(set, 1, 1);
  int same = 0;
  for (int i = 0; i < 40; ++i) same += image_of(first, i) == image_of(second, i);
  CHECK(same < 5);  // of 40, each with a chance of 1 in 162

  Loader other = training_loader(set, 1, 7, 13);
  other.start_epoch(0);
  const Epoch thirteens = rest_of_epoch(other);
  CHECK(image_of(thirteens, 3) == image_of(first, 3));
}

TEST_CASE("an epoch that is resumed in the middle continues as if it had not stopped") {
  const Dataset set = numbered(95);
  const Epoch whole = whole_epoch(set, 1, 2);
  for (int threads : {1, 3}) {
    Loader loader = training_loader(set, threads);
    for (int64_t first : {0, 1, 6, 9, 10}) {
      loader.start_epoch(1);  // and is left in the middle
      for (int64_t i = 0; i < first; ++i) loader.next();
      loader.start_epoch(2, first);
      const Epoch rest = rest_of_epoch(loader);
      const auto skipped = static_cast<std::ptrdiff_t>(first * 10);
      CHECK(rest.sizes == std::vector<int64_t>(whole.sizes.begin() + first, whole.sizes.end()));
      CHECK(std::equal(rest.labels.begin(), rest.labels.end(),
                       whole.labels.begin() + std::min<std::ptrdiff_t>(skipped, 95), whole.labels.end()));
      CHECK(std::equal(rest.images.begin(), rest.images.end(),
                       whole.images.begin() + std::min<std::ptrdiff_t>(skipped, 95) * set.image_size(),
                       whole.images.end()));
      CHECK(loader.next() == nullptr);
    }
    CHECK_THROWS_AS(loader.start_epoch(0, 11), std::invalid_argument);
    CHECK_THROWS_AS(loader.start_epoch(-1), std::invalid_argument);
  }
}

TEST_CASE("evaluation gives every picture in order, normalised without augmentation") {
  const Dataset set = numbered(23);
  Loader loader(set, format_of(set), {.batch = 10, .threads = 2});
  CHECK(loader.next() == nullptr);  // no epoch was started
  CHECK(loader.batches() == 3);
  loader.start_epoch(0);
  const Epoch epoch = rest_of_epoch(loader);
  CHECK(epoch.labels == set.labels);
  CHECK(epoch.sizes == std::vector<int64_t>{10, 10, 3});
  REQUIRE(epoch.images.size() == set.images.size());
  double worst = 0;
  for (int64_t i = 0; i < set.size(); ++i) {
    const std::vector<double> expected = naive(set, set.image(i), 0, {});
    for (int64_t j = 0; j < set.image_size(); ++j)
      worst = std::max(worst, std::abs(epoch.images[i * set.image_size() + j] - expected[j]));
  }
  CHECK(worst < 1e-6);
  CHECK(loader.wait_seconds() >= 0);
}

TEST_CASE("drop_last leaves out the incomplete batch") {
  const Dataset set = numbered(23);
  Loader loader(set, format_of(set), {.batch = 10, .shuffle = true, .drop_last = true});
  CHECK(loader.batches() == 2);
  loader.start_epoch(0);
  CHECK(rest_of_epoch(loader).sizes == std::vector<int64_t>{10, 10});
  CHECK_THROWS_AS(Loader(set, format_of(set), {.batch = 24, .shuffle = true, .drop_last = true}),
                  std::invalid_argument);
  Loader whole(set, format_of(set), {.batch = 100});
  whole.start_epoch(0);
  CHECK(rest_of_epoch(whole).sizes == std::vector<int64_t>{23});
}

TEST_CASE("a batch stays unchanged until the next call, in a ring of few buffers") {
  const Dataset set = numbered(300);
  Loader loader(set, format_of(set), {.batch = 10, .threads = 3});
  std::set<const float*> buffers;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    loader.start_epoch(epoch);
    for (int32_t first = 0; const Batch* batch = loader.next(); first += 10) {
      buffers.insert(batch->images.data());
      const std::vector<float> before(batch->images.begin(), batch->images.end());
      std::this_thread::sleep_for(std::chrono::microseconds(300));  // the workers run ahead as far as they may
      CHECK(std::equal(before.begin(), before.end(), batch->images.begin(), batch->images.end()));
      CHECK(batch->labels[0] == first);
    }
  }
  CHECK(buffers.size() == 5);
}

TEST_CASE("an error in a worker thread is thrown by next()") {
  Dataset set = numbered(30);
  Loader loader(set, format_of(set), {.batch = 10, .threads = 2});
  set.images.resize(15 * set.image_size());  // the second batch's images are gone
  loader.start_epoch(0);
  REQUIRE(loader.next() != nullptr);
  CHECK_THROWS_AS(loader.next(), std::invalid_argument);
  CHECK_THROWS_AS(loader.next(), std::invalid_argument);
  loader.start_epoch(1);  // a new epoch starts clean
  CHECK(loader.next() != nullptr);
}

TEST_CASE("a loader destroyed in the middle of an epoch ends at once") {
  const Dataset set = numbered(2000, 32, 32);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    Loader loader = training_loader(set, 3);
    loader.start_epoch(0);
    if (i % 2) loader.next();
  }
  CHECK(std::chrono::steady_clock::now() - start <
        std::chrono::seconds(5));  // twenty whole epochs and their waits are more
}

TEST_CASE("a loader refuses sizes out of range") {
  const Dataset set = numbered(5), empty = numbered(0);
  const auto make = [&](const Dataset& data, int64_t batch, Augment augment, int threads) {
    Loader(data, format_of(data), {.batch = batch, .augment = augment, .shuffle = true, .threads = threads});
  };
  CHECK_THROWS_AS(make(empty, 1, {}, 1), std::invalid_argument);
  CHECK_THROWS_AS(make(set, 0, {}, 1), std::invalid_argument);
  CHECK_THROWS_AS(make(set, 1, {.crop_pad = -1}, 1), std::invalid_argument);
  CHECK_THROWS_AS(make(set, 1, {.crop_pad = 9}, 1), std::invalid_argument);
  CHECK_THROWS_AS(make(set, 1, {}, 0), std::invalid_argument);
  CHECK_NOTHROW(make(set, 1, {}, 1));
}

}  // namespace pleat
