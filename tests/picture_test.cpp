// Pictures: decoding against formulas, resizing against Pillow, and files that are none.
#include "data/picture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

namespace pleat {
namespace {

const std::string kFixtures = "tests/fixtures/data";

struct Picture {
  int height = 0, width = 0;
  std::vector<uint8_t> pixels;
};

Picture load(const std::string& name, int channels = 3) {
  Picture picture;
  picture.pixels = load_picture(kFixtures + '/' + name, picture.height, picture.width, channels);
  return picture;
}

std::string load_error(const std::string& path) {
  int height, width;
  return error_of<std::runtime_error>([&] { load_picture(path, height, width, 3); });
}

}  // namespace

TEST_CASE("a PNG is read exactly, a JPEG nearly") {
  const Picture sharp = load("sharp.png");
  REQUIRE((sharp.height == 32 && sharp.width == 32));
  int wrong = 0;
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x)
      for (int c = 0; c < 3; ++c)
        wrong += sharp.pixels[(y * 32 + x) * 3 + c] != (y * 31 + c * 57 + y * 7 + x * 15) % 256;
  CHECK(wrong == 0);

  const Picture smooth = load("smooth.jpg");
  REQUIRE((smooth.height == 24 && smooth.width == 32));
  int worst = 0;
  for (int y = 0; y < 24; ++y)
    for (int x = 0; x < 32; ++x)
      for (int c = 0; c < 3; ++c)
        worst = std::max(worst, std::abs(smooth.pixels[(y * 32 + x) * 3 + c] - (40 + 2 * y + 3 * x + 10 * c)));
  CHECK(worst <= 4);

  const Picture grey = load("smooth.jpg", 1);
  CHECK(grey.pixels.size() == 24 * 32);
  CHECK(std::abs(grey.pixels[0] - 50) <= 4);
}

TEST_CASE("files that are no pictures are refused") {
  const TempDir dir;
  CHECK(load_error(dir.path("absent.png")).find("absent.png: No such file") != std::string::npos);
  CHECK(load_error(dir.path()).find(dir.path() + ":") == 0);

  std::ofstream(dir.path("text.png")) << "not a picture";
  CHECK(load_error(dir.path("text.png")).find("text.png: not a JPEG or PNG picture") != std::string::npos);
  std::ofstream(dir.path("empty.png")) << "";
  CHECK(load_error(dir.path("empty.png")).find("empty.png: ") != std::string::npos);

  std::ifstream whole(kFixtures + "/sharp.png", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(whole), {}};
  std::ofstream(dir.path("cut.png"), std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  CHECK(load_error(dir.path("cut.png")).find("cut.png: cannot be decoded") != std::string::npos);
  bytes.replace(16, 8, std::string("\0\0\x40\0\0\0\x40\0", 8));  // the header claims 16384x16384
  std::ofstream(dir.path("large.png"), std::ios::binary) << bytes;
  CHECK(load_error(dir.path("large.png")).find("picture is 16384x16384, expected at most") != std::string::npos);

  int height, width;
  CHECK_THROWS_AS(load_picture(kFixtures + "/sharp.png", height, width, 2), std::invalid_argument);
}

TEST_CASE("resizing equals Pillow's, bit for bit") {
  const Picture sharp = load("sharp.png");
  for (const auto& [height, width] : {std::pair{21, 13}, {45, 50}, {7, 32}}) {
    CAPTURE(height);
    const Picture expected = load("sharp_" + std::to_string(height) + 'x' + std::to_string(width) + ".png");
    REQUIRE((expected.height == height && expected.width == width));
    CHECK(resize(sharp.pixels, 32, 32, 3, height, width) == expected.pixels);
  }
  CHECK(resize(sharp.pixels, 32, 32, 3, 32, 32) == sharp.pixels);
  CHECK_THROWS_AS(resize(sharp.pixels, 32, 31, 3, 8, 8), std::invalid_argument);
  CHECK_THROWS_AS(resize(sharp.pixels, 32, 32, 3, 0, 8), std::invalid_argument);
}

TEST_CASE("a picture is fitted by its shorter side and cut at the centre") {
  const Picture sharp = load("sharp.png");
  CHECK(fit_picture(sharp.pixels, 32, 32, 3, 32, 32) == sharp.pixels);

  const Picture smooth = load("smooth.jpg");  // 24 high, 32 wide
  const std::vector<uint8_t> square = fit_picture(smooth.pixels, 24, 32, 3, 24, 24);
  REQUIRE(square.size() == 24 * 24 * 3);
  for (int y = 0; y < 24; ++y)
    CHECK(std::equal(square.begin() + y * 24 * 3, square.begin() + (y + 1) * 24 * 3,
                     smooth.pixels.begin() + (y * 32 + 4) * 3));

  // 28/0.875 = 32 on the shorter side, which is its size: nothing but the cut, 2 pixels on each side.
  const std::vector<uint8_t> middle = fit_picture(sharp.pixels, 32, 32, 3, 28, 28, 0.875);
  REQUIRE(middle.size() == 28 * 28 * 3);
  for (int y = 0; y < 28; ++y)
    CHECK(std::equal(middle.begin() + y * 28 * 3, middle.begin() + (y + 1) * 28 * 3,
                     sharp.pixels.begin() + ((y + 2) * 32 + 2) * 3));

  for (int side : {1, 5, 33, 224})
    CHECK(fit_picture(smooth.pixels, 24, 32, 3, side, side, 0.9).size() == static_cast<std::size_t>(side) * side * 3);
  CHECK_THROWS_AS(fit_picture(smooth.pixels, 24, 32, 3, 8, 8, 0), std::invalid_argument);
}

}  // namespace pleat
