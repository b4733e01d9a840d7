// Pictures: decoding against formulas, resizing against Pillow, and files that are none.
#include "data/picture.hpp"

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/file.hpp"
#include "data/decoders.hpp"
#include "data/resample.hpp"
#include "data/transform.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

namespace pleat {
namespace {

const std::string kFixtures = "tests/fixtures/data";

Picture load(const std::string& name, int channels = 3) {
  return load_picture(kFixtures + '/' + name, channels);
}

// The channels alone.
std::vector<uint8_t> packed(const Picture& picture, int channels = 3) {
  std::vector<uint8_t> bytes;
  for (std::size_t at = 0; at < picture.bytes.size(); at += picture.step)
    bytes.insert(bytes.end(), picture.bytes.begin() + at, picture.bytes.begin() + at + channels);
  return bytes;
}

std::vector<uint8_t> scaled(const Picture& picture, const View& view,
                            Interpolation interpolation = Interpolation::bilinear) {
  std::vector<uint8_t> out(3 * view.window.height * view.window.width);
  resample(out, picture.pixels(), 3, view, interpolation);
  return out;
}

// All of `box`, scaled to height x width.
View whole(const Box& box, int height, int width) {
  return {box, height, width, {0, 0, height, width}};
}

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Picture decode(const std::string& bytes, int channels = 3) {
  return decode_picture(std::as_bytes(std::span(bytes)), "x", channels);
}

std::string decode_error(const std::string& bytes) {
  return error_of<std::runtime_error>([&] { decode(bytes); });
}

std::string little(uint32_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(i < 4 ? value >> 8 * i : 0);
  return bytes;
}

// The PNG file with one more part, at a byte, or behind its header.
std::string with_chunk(const std::string& png, const std::string& kind, const std::string& data, std::size_t at = 33) {
  const auto word = [](uint32_t n) { return std::string{char(n >> 24), char(n >> 16), char(n >> 8), char(n)}; };
  const std::string body = kind + data;
  const uLong checksum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return png.substr(0, at) + word(static_cast<uint32_t>(data.size())) + body + word(static_cast<uint32_t>(checksum)) +
         png.substr(at);
}

std::string load_error(const std::string& path) {
  return error_of<std::runtime_error>([&] { load_picture(path, 3); });
}

}  // namespace

TEST_CASE("a PNG is read exactly, a JPEG nearly") {
  const Picture sharp = load("sharp.png");
  REQUIRE((sharp.height == 32 && sharp.width == 32));
  int wrong = 0;
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x)
      for (int c = 0; c < 3; ++c)
        wrong += sharp.bytes[(y * 32 + x) * 4 + c] != (y * 31 + c * 57 + y * 7 + x * 15) % 256;
  CHECK(wrong == 0);

  const Picture smooth = load("smooth.jpg");
  REQUIRE((smooth.height == 24 && smooth.width == 32));
  int worst = 0;
  for (int y = 0; y < 24; ++y)
    for (int x = 0; x < 32; ++x)
      for (int c = 0; c < 3; ++c)
        worst = std::max(worst, std::abs(smooth.bytes[(y * 32 + x) * 4 + c] - (40 + 2 * y + 3 * x + 10 * c)));
  CHECK(worst <= 4);

  const Picture grey = load("smooth.jpg", 1);
  CHECK(grey.bytes.size() == 24 * 32);
  CHECK(std::abs(grey.bytes[0] - 50) <= 4);
}

TEST_CASE("files that are no pictures are refused") {
  const TempDir dir;
  CHECK(load_error(dir.path("absent.png")).find("absent.png: No such file") != std::string::npos);
  CHECK(load_error(dir.path()).find(dir.path() + ":") == 0);

  std::ofstream(dir.path("text.png")) << "not a picture";
  CHECK(load_error(dir.path("text.png")).find("text.png: not a JPEG, PNG, BMP, PPM or PGM picture") !=
        std::string::npos);
  std::ofstream(dir.path("empty.png")) << "";
  CHECK(load_error(dir.path("empty.png")).find("empty.png: ") != std::string::npos);

  std::ifstream whole(kFixtures + "/sharp.png", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(whole), {}};
  std::ofstream(dir.path("cut.png"), std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  CHECK(load_error(dir.path("cut.png")).find("cut.png: is a PNG file that ends too early") != std::string::npos);
  bytes.replace(16, 8, std::string("\0\0\x40\0\0\0\x40\0", 8));  // the header claims 16384x16384
  std::ofstream(dir.path("large.png"), std::ios::binary) << bytes;
  CHECK(load_error(dir.path("large.png")).find("picture is 16384x16384, expected at most") != std::string::npos);

  CHECK_THROWS_AS(load_picture(kFixtures + "/sharp.png", 2), std::invalid_argument);
}

TEST_CASE("JPEG files of every kind look as Pillow's, upright") {
  for (const char* name : {"baseline", "progressive", "grey", "cmyk", "cmyk_plain", "turned2", "turned3", "turned4",
                           "turned5", "turned6", "turned7", "turned8"}) {
    CAPTURE(name);
    const Picture got = load("kinds/" + std::string(name) + ".jpg"),
                  wanted = load("kinds/" + std::string(name) + ".png");
    REQUIRE((got.height == wanted.height && got.width == wanted.width));
    const std::vector<uint8_t> a = packed(got), b = packed(wanted);
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
    CHECK(sum / static_cast<double>(a.size()) < 1);
  }
}

TEST_CASE("a JPEG file that ends too early is refused, wherever it ends") {
  const TempDir dir;
  for (const char* name : {"baseline", "progressive"}) {
    std::ifstream file(kFixtures + "/kinds/" + name + ".jpg", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    for (std::size_t size = 0; size < bytes.size(); size += size < 700 ? 1 : 97) {
      CAPTURE(size);
      std::ofstream(dir.path("cut.jpg"), std::ios::binary) << bytes.substr(0, size);
      CHECK(load_error(dir.path("cut.jpg")).starts_with(dir.path("cut.jpg") + ": "));
    }
    std::ofstream(dir.path("cut.jpg"), std::ios::binary) << bytes.substr(0, bytes.size() - 2);
    CHECK(load_error(dir.path("cut.jpg")).find("is a JPEG file that ends too early") != std::string::npos);
    std::ofstream(dir.path("more.jpg"), std::ios::binary) << bytes + "what some programs leave behind";
    CHECK(packed(load_picture(dir.path("more.jpg"), 3)) == packed(load(std::string("kinds/") + name + ".jpg")));
  }
}

TEST_CASE("a JPEG file with a bad table, which a decoder might trust, is refused") {
  const std::string bytes = slurp(kFixtures + "/kinds/baseline.jpg");
  const std::size_t table = bytes.find("\xff\xc4");
  REQUIRE(table != std::string::npos);
  const auto error = [&](std::size_t at, char put) {
    std::string changed = bytes;
    changed[table + at] = put;
    return decode_error(changed);
  };
  CHECK(error(4, bytes[table + 4]) == "no error");
  CHECK(
      holds(error(20, '\xff'), "is a JPEG file that cannot be decoded: Bogus Huffman table"));  // 255 codes of 16 bits
  CHECK(holds(error(3, 16), "is a JPEG file that cannot be decoded: Bogus"));  // the segment ends within the counts
}

TEST_CASE("a broken picture's reason is one printable line, whatever the file's bytes") {
  const std::string png = with_chunk(slurp(kFixtures + "/sharp.png"), "\nD\xff\x01", "");
  CHECK(holds(decode_error(png), "x: is a PNG file that has a part ?D??, which is not known"));
}

TEST_CASE("JPEG files with more than they need before their end are read as Pillow reads them") {
  const std::string bytes = slurp(kFixtures + "/kinds/baseline.jpg");
  const std::size_t end = bytes.size() - 2;
  REQUIRE(bytes.substr(end) == "\xff\xd9");
  const std::vector<uint8_t> wanted = packed(decode(bytes));
  for (const std::string& more : {std::string("\x12\x34\x56"), std::string("\xff\xd0"),
                                  std::string("\0\0\xff\xd7\0", 5), std::string("\xff\xff\xff")})
    CHECK(packed(decode(bytes.substr(0, end) + more + "\xff\xd9")) == wanted);
}

TEST_CASE("JPEG files of kinds that are not supported, or without all their scans, are refused by name") {
  const std::string bytes = slurp(kFixtures + "/kinds/baseline.jpg");
  const std::size_t frame = bytes.find("\xff\xc0"), scan = bytes.find("\xff\xda");
  REQUIRE((frame != std::string::npos && scan != std::string::npos));
  const auto error = [&](std::size_t at, char put) {
    std::string changed = bytes;
    changed[frame + at] = put;
    return decode_error(changed);
  };
  CHECK(holds(error(1, '\xc9'), "x: is a JPEG file that is arithmetic-coded, which is not supported"));
  CHECK(holds(error(1, '\xc3'), "x: is a JPEG file that is lossless or hierarchical, which is not supported"));
  CHECK(holds(error(4, 12), "x: is a JPEG file that has 12 bits a sample, which is not supported (expected 8)"));
  CHECK(holds(decode_error(bytes.substr(0, scan) + "\xff\xd9"), "x: is a JPEG file that cannot be decoded: "));

  const std::string progressive = slurp(kFixtures + "/kinds/progressive.jpg");
  // Its first scan, which is the coarsest part of all colours, once more and more, or not at all.
  const std::size_t first = progressive.find("\xff\xda"), next = progressive.find("\xff\xc4", first);
  REQUIRE((first != std::string::npos && next != std::string::npos));
  std::string scans;
  for (int i = 0; i < 600; ++i) scans += progressive.substr(first, next - first);
  CHECK(holds(decode_error(progressive.substr(0, first) + scans + progressive.substr(next)),
              "x: is a JPEG file that has more than 500 scans"));
  CHECK(holds(decode_error(progressive.substr(0, first) + progressive.substr(next)),
              "lacks the scan of one of its colours"));
}

TEST_CASE("a JPEG file with damaged pixels is refused, not shown in stripes") {
  const std::string bytes = slurp(kFixtures + "/kinds/baseline.jpg");
  const std::size_t pixels = bytes.find("\xff\xda") + 14;
  CHECK(holds(decode_error(bytes.substr(0, pixels + 300) + "\xff\xd9"), "ends too early"));
  std::string changed = bytes, ones;
  for (int i = 0; i < 100; ++i) ones += std::string("\xff\0", 2);
  changed.replace(pixels + 100, 200, ones);  // no code is all ones
  CHECK(holds(decode_error(changed), "x: is a JPEG file that "));
}

TEST_CASE("PNG files are turned as they say, in each of the ways to say it") {
  const std::string png = slurp(kFixtures + "/scene.png");
  const std::string tiff("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 26);
  std::string digits;
  for (const unsigned char c : "Exif" + std::string(2, '\0') + tiff)
    for (const int nibble : {c >> 4, c & 15}) digits += "0123456789abcdef"[nibble];
  const std::string raw = "Raw profile type exif" + std::string(1, '\0') + "\nexif\n  32\n" + digits + "\n";
  const std::string xmp = "XML:com.adobe.xmp" + std::string(5, '\0') + "<x tiff:Orientation=\"6\"/>";
  const Picture upright = decode(png);
  for (const auto& [kind, data] : {std::pair<std::string, std::string>{"eXIf", tiff}, {"tEXt", raw}, {"iTXt", xmp}}) {
    CAPTURE(kind);
    const Picture turned = decode(with_chunk(png, kind, data));
    REQUIRE((turned.height == upright.width && turned.width == upright.height));
    int wrong = 0;
    for (int y = 0; y < turned.height; ++y)  // a quarter clockwise
      for (int x = 0; x < turned.width; ++x)
        wrong += turned.bytes[(y * turned.width + x) * 4] !=
                 upright.bytes[((upright.height - 1 - x) * upright.width + y) * 4];
    CHECK(wrong == 0);
  }
}

TEST_CASE("PNG files with a wrong checksum, of Apple's kind or with far more data than pixels are refused") {
  const std::string png = slurp(kFixtures + "/scene.png");
  std::string flipped = png;
  const std::size_t data = png.find("IDAT");
  flipped[data + 50] = static_cast<char>(flipped[data + 50] ^ 4);
  CHECK(holds(decode_error(flipped), "x: is a PNG file that has a wrong checksum at byte "));
  const std::string apple = with_chunk(png, "CgBI", std::string("\x50\0\x20\x02", 4), 8);
  CHECK(holds(decode_error(apple), "which is not supported"));
  CHECK(holds(decode_error(apple), "CgBI"));
  CHECK(
      holds(decode_error(with_chunk(png, "IDAT", std::string(200'000, 'x'))), "bytes of packed pixels, but all 60x44"));
  CHECK(packed(decode(with_chunk(png, "teXt", "what nobody needs"))) == packed(decode(png)));
}

TEST_CASE("BMP, PPM and PGM files are read; others are refused by the name of their kind") {
  const Picture sharp = load("sharp.png");
  CHECK(packed(load("sharp.ppm")) == packed(sharp));
  std::string bmp = "BM" + little(54 + 32 * 96, 4) + little(0, 4) + little(54, 4) + little(40, 4) + little(32, 4) +
                    little(32, 4) + little(1, 2) + little(24, 2) + little(0, 24);
  for (int y = 31; y >= 0; --y)
    for (int x = 0; x < 32; ++x)
      for (int c = 2; c >= 0; --c) bmp += static_cast<char>(sharp.bytes[(y * 32 + x) * 4 + c]);
  CHECK(packed(decode(bmp)) == packed(sharp));
  CHECK(holds(decode_error(bmp.substr(0, bmp.size() - 1)), "x: is a BMP file that ends too early"));
  std::string packed_bmp = bmp;
  packed_bmp[30] = 1;
  CHECK(holds(decode_error(packed_bmp), "x: is a BMP file of compression 1, which is not supported"));

  CHECK(decode("P5 # grey\n2 1\n255\n\x01\xff", 1).bytes == std::vector<uint8_t>{1, 255});
  CHECK(decode(std::string("P5 2 1 31\n\x00\x1f", 12), 1).bytes == std::vector<uint8_t>{0, 255});
  CHECK(decode(std::string("P5 2 1 65535\n\x00\xff\x80\x00", 17), 1).bytes == std::vector<uint8_t>{0, 128});
  CHECK(holds(decode_error("P6 2 1 255\n12345"), "ends too early: it has 16 bytes, its header promises 17"));

  const std::vector<std::pair<std::string, std::string>> others = {{std::string("RIFF\x10\0\0\0WEBPVP8 ", 16), "WebP"},
                                                                   {"GIF89a", "GIF"},
                                                                   {std::string("II*\0", 4), "TIFF"},
                                                                   {std::string("\0\0\0\x1c"
                                                                                "ftypavif",
                                                                                12),
                                                                    "AVIF"},
                                                                   {std::string("\0\0\0\x0cJXL ", 8), "JPEG XL"},
                                                                   {"P3 1 1 255 0 0 0", "PNM (P3)"}};
  for (const auto& [bytes, kind] : others)
    CHECK(holds(decode_error(bytes), "x: is a " + kind + " file, which is not supported, expected a JPEG, PNG, BMP"));
  CHECK(holds(decode_error(""), "x: is empty"));
}

// For tools/scripts/check_pictures.sh, which compares the pixels with Pillow's: of each file 1, height, width and the
// RGB bytes, or 0, a length, 0 and the error's text.
TEST_CASE("pictures listed in a file are decoded into another" * doctest::skip()) {
  const char *const list = std::getenv("PLEAT_PICTURES"), *const out = std::getenv("PLEAT_PIXELS");
  REQUIRE((list != nullptr && out != nullptr));
  std::ofstream file(out, std::ios::binary);
  const auto put = [&](int ok, int a, int b, const auto& bytes) {
    const int32_t head[] = {ok, a, b};
    file.write(reinterpret_cast<const char*>(head), sizeof head);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  for (const std::string& path : read_lines(list)) {
    try {
      const Picture picture = load_picture(path, 3);
      put(1, picture.height, picture.width, packed(picture));
    } catch (const std::runtime_error& error) {
      const std::string text = error.what();
      put(0, static_cast<int>(text.size()), 0, text);
    }
  }
  CHECK(file.flush().good());
}

TEST_CASE("Exif that leads nowhere leaves a picture as it is") {
  const std::string bytes = slurp(kFixtures + "/kinds/turned6.jpg");
  const std::size_t exif = bytes.find("Exif");
  REQUIRE(exif != std::string::npos);
  const std::string tiff = bytes.substr(exif + 6, 40);
  const auto orientation = [&](std::size_t at, const std::string& put) {
    std::string changed = tiff;
    changed.replace(at, put.size(), put);
    return exif_orientation({reinterpret_cast<const uint8_t*>(changed.data()), changed.size()});
  };
  CHECK(orientation(0, "") == 6);
  CHECK(orientation(4, "\x7f\x7f\x7f\x7f") == 1);  // the directory is beyond the end
  for (std::size_t at = 0; at < 26; ++at)
    for (const char* put : {"\xff", "\x7f\xff", "\x12\x34\x56\x78"}) {
      const int got = orientation(at, put);
      CHECK((got >= 1 && got <= 8));
    }
}

TEST_CASE("resizing equals Pillow's, bit for bit") {
  const Picture sharp = load("sharp.png");
  const Box all{0, 0, 32, 32};
  for (const auto& [height, width] : {std::pair{21, 13}, {45, 50}, {7, 32}}) {
    CAPTURE(height);
    CHECK(scaled(sharp, whole(all, height, width)) ==
          packed(load("sharp_" + std::to_string(height) + 'x' + std::to_string(width) + ".png")));
  }
  CHECK(scaled(sharp, whole(all, 32, 32)) == packed(sharp));
  CHECK(scaled(sharp, whole(all, 32, 32), Interpolation::bicubic) == packed(sharp));

  const Picture scene = load("scene.png");
  REQUIRE((scene.height == 44 && scene.width == 60));
  const Box full{0, 0, 44, 60}, part{5, 7, 35, 43};
  struct Case {
    Interpolation interpolation;
    Box box;
    int height, width;
  };
  for (const Case& c : {Case{Interpolation::bilinear, full, 19, 25},
                        {Interpolation::bilinear, part, 64, 64},
                        {Interpolation::bicubic, full, 19, 25},
                        {Interpolation::bicubic, part, 64, 64}}) {
    const std::string name = std::string("scene_") + to_string(c.interpolation) + '_' + std::to_string(c.width) + 'x' +
                             std::to_string(c.height);
    CAPTURE(name);
    const std::vector<uint8_t> expected = packed(load(name + ".png"));
    CHECK(scaled(scene, whole(c.box, c.height, c.width), c.interpolation) == expected);

    // Other steps take another way, and a window is what lies there in the whole.
    const Picture narrow{scene.height, scene.width, 3, packed(scene)};
    CHECK(scaled(narrow, whole(c.box, c.height, c.width), c.interpolation) == expected);
    const View window{c.box, c.height, c.width, {3, 4, c.height - 5, c.width - 11}};
    const std::vector<uint8_t> seen = scaled(scene, window, c.interpolation);
    for (int y = 0; y < window.window.height; ++y)
      CHECK(std::equal(seen.begin() + y * window.window.width * 3, seen.begin() + (y + 1) * window.window.width * 3,
                       expected.begin() + ((y + 3) * c.width + 4) * 3));
  }
}

// Pillow 13 goes down first where that is less work; rounding between the two ways, and cutting off what overshoots,
// then differs.
TEST_CASE("resizing where Pillow takes its two steps the other way round is near it") {
  const std::vector<uint8_t> expected = packed(load("scene_bicubic_200x20.png")),
                             got = scaled(load("scene.png"), whole({0, 0, 44, 60}, 20, 200), Interpolation::bicubic);
  REQUIRE(got.size() == expected.size());
  double sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) sum += std::abs(got[i] - expected[i]);
  CHECK(sum / static_cast<double>(got.size()) < 1);
}

TEST_CASE("resampling refuses what does not fit") {
  const Picture sharp = load("sharp.png");
  const auto refused = [&](const View& view) {
    std::vector<uint8_t> out(8 * 8 * 3);
    CHECK_THROWS_AS(resample(out, sharp.pixels(), 3, view, Interpolation::bilinear), std::invalid_argument);
  };
  refused(whole({0, 0, 32, 33}, 8, 8));
  refused(whole({-1, 0, 32, 32}, 8, 8));
  refused(whole({1, 0, 32, 32}, 8, 8));
  refused(whole({0, 0, 0, 32}, 8, 8));
  refused(whole({0, 0, 32, 32}, 0, 8));
  refused(whole({0, 0, 32, 32}, 8, 9));  // no room for it
  refused({{0, 0, 32, 32}, 16, 16, {9, 0, 8, 8}});
  Pixels cut = sharp.pixels();
  cut.bytes = cut.bytes.first(100);
  std::vector<uint8_t> out(8 * 8 * 3);
  CHECK_THROWS_AS(resample(out, cut, 3, whole({0, 0, 32, 32}, 8, 8), Interpolation::bilinear), std::invalid_argument);
}

TEST_CASE("a picture is fitted by its shorter side and cut at the centre") {
  const auto is = [](const View& v, int height, int width, int top, int left) {
    return v.height == height && v.width == width && v.window.top == top && v.window.left == left;
  };
  CHECK(is(centre_view(24, 32, 24, 24, 1), 24, 32, 0, 4));
  CHECK(is(centre_view(32, 24, 24, 24, 1), 32, 24, 4, 0));
  CHECK(is(centre_view(32, 32, 28, 28, 0.875), 32, 32, 2, 2));
  CHECK(is(centre_view(240, 320, 224, 224, 0.875), 256, 341, 16, 58));  // torchvision: 256*320//240, round(58.5) = 58
  CHECK(is(centre_view(500, 375, 240, 240, 0.875), 365, 274, 62, 17));  // 240/0.875 = 274.28
  CHECK(is(centre_view(100, 100, 20, 40, 1), 40, 40, 10, 0));
  CHECK(is(centre_view(1, 65536, 224, 224, 1), 224, 224 * 65536, 0, 112 * 65535));
  CHECK_THROWS_AS(centre_view(24, 32, 8, 8, 0), std::invalid_argument);
  CHECK_THROWS_AS(centre_view(24, 32, 8, 8, 1.5), std::invalid_argument);

  const Picture line{1, 4000, 4, std::vector<uint8_t>(4 * 4000, 77)};  // a thousandfold enlargement
  CHECK(scaled(line, centre_view(1, 4000, 32, 32, 1)) == std::vector<uint8_t>(32 * 32 * 3, 77));
}

TEST_CASE("a picture of the network's size is taken whole, others are scaled") {
  const PictureFormat format{32, 32, 3, {0, 0, 0}, {1, 1, 1}, 0.5, Interpolation::bilinear};
  const Transform transform(format, std::nullopt);
  std::vector<float> out(32 * 32 * 3);
  const auto seen = [&](const Picture& picture) {
    transform(out, picture.pixels(), Rng(0));
    std::vector<uint8_t> bytes;
    for (float value : out) bytes.push_back(static_cast<uint8_t>(value * 255 + 0.5f));
    return bytes;
  };
  const Picture sharp = load("sharp.png"), scene = load("scene.png");
  CHECK(seen(sharp) == packed(sharp));
  CHECK(seen(scene) == scaled(scene, centre_view(44, 60, 32, 32, 0.5)));

  const Transform padded(format, Augment{});
  CHECK_THROWS_AS(padded(out, scene.pixels(), Rng(0)), std::invalid_argument);
  std::vector<float> small(31 * 32 * 3);
  CHECK_THROWS_AS(transform(small, sharp.pixels(), Rng(0)), std::invalid_argument);
}

TEST_CASE("random parts have the areas and shapes asked for, and lie anywhere") {
  constexpr int kHeight = 300, kWidth = 400, kDraws = 4000;
  int top = 0, bottom = 0, left = 0, right = 0, small = 0, wide = 0;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(5, i);
    const Box box = draw_resized_crop(kHeight, kWidth, rng);
    REQUIRE((box.top >= 0 && box.left >= 0 && box.top + box.height <= kHeight && box.left + box.width <= kWidth));
    const double area = static_cast<double>(box.height) * box.width / (kHeight * kWidth),
                 ratio = static_cast<double>(box.width) / box.height;
    CHECK((area > 0.079 && area < 1.0001));
    CHECK((ratio > 0.74 && ratio < 1.35));
    const int below = kHeight - box.top - box.height, beside = kWidth - box.left - box.width;
    top += box.top<below, bottom += box.top> below, left += box.left<beside, right += box.left> beside;
    small += area<0.54, wide += ratio> 1;
  }
  CHECK(std::abs(top - bottom) < 5 * 63);  // five standard deviations of 4000 coins
  CHECK(std::abs(left - right) < 5 * 63);
  CHECK(small > kDraws / 2);  // large ones often do not fit, and are drawn anew
  CHECK((wide > kDraws * 0.45 && wide < kDraws * 0.65));

  Rng rng(6);
  const Box strip = draw_resized_crop(10, 1000, rng);  // no part of it has that shape: the centre
  CHECK((strip.top == 0 && strip.height == 10 && strip.width == 13 && strip.left == 493));
  const Box dot = draw_resized_crop(1, 1, rng);
  CHECK((dot.height == 1 && dot.width == 1));
}

}  // namespace pleat
