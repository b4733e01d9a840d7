#include "data/picture.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "core/check.hpp"
#include "core/file.hpp"
#include "data/decoders.hpp"
#include "data/resample.hpp"

namespace pleat {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::uintmax_t kMaxFileBytes = 256 << 20;

struct Format {
  bool (*is_it)(Bytes bytes);
  DecodedPicture (*decode)(const PictureBytes& file);
};
constexpr Format kFormats[] = {
    {is_jpeg, decode_jpeg}, {is_png, decode_png}, {is_bmp, decode_bmp}, {is_pnm, decode_pnm}};

// What else may stand in a folder of pictures, told by bytes at an offset, so that it is refused by name.
struct OtherFormat {
  const char* name;
  std::size_t offset;
  std::string_view bytes;
};
constexpr OtherFormat kOtherFormats[] = {
    {"WebP", 8, "WEBP"},
    {"GIF", 0, "GIF8"},
    {"TIFF", 0, std::string_view("II*\0", 4)},
    {"TIFF", 0, std::string_view("MM\0*", 4)},
    {"AVIF", 4, "ftypavif"},
    {"HEIF", 4, "ftyp"},
    {"JPEG XL", 0, "\xFF\x0A"},
    {"JPEG XL", 4, "JXL "},
    {"JPEG 2000", 4, "jP  "},
    {"JPEG 2000", 0, "\xFF\x4F\xFF\x51"},
    {"Photoshop", 0, "8BPS"},
    {"PDF", 0, "%PDF"},
    {"SVG", 0, "<svg"},
    {"PNM (P1)", 0, "P1"},
    {"PNM (P2)", 0, "P2"},
    {"PNM (P3)", 0, "P3"},
    {"PNM (P4)", 0, "P4"},
};

[[noreturn]] void refuse_unknown(const std::string& name, Bytes bytes) {
  constexpr const char* kExpected = "JPEG, PNG, BMP, PPM or PGM";
  for (const OtherFormat& other : kOtherFormats)
    PLEAT_CHECK_FILE(bytes.size() < other.offset + other.bytes.size() ||
                         std::memcmp(bytes.data() + other.offset, other.bytes.data(), other.bytes.size()) != 0,
                     name, "is a ", other.name, " file, which is not supported, expected a ", kExpected, " picture");
  PLEAT_CHECK_FILE(!bytes.empty(), name, "is empty, expected a ", kExpected, " picture");
  throw std::runtime_error(concat(name, ": not a ", kExpected, " picture"));
}

// EXIF's eight: from 5 on rows and columns change places, and then both may be mirrored.
Picture upright(const Picture& picture, int orientation) {
  const bool turned = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Picture out{turned ? picture.width : picture.height, turned ? picture.height : picture.width, picture.step, {}};
  out.bytes.resize(picture.bytes.size());
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const int row = turned ? x : y, column = turned ? y : x;
      const int64_t from = int64_t{flip_y ? picture.height - 1 - row : row} * picture.width +
                           (flip_x ? picture.width - 1 - column : column);
      std::copy_n(picture.bytes.data() + from * picture.step, picture.step,
                  out.bytes.data() + (int64_t{y} * out.width + x) * picture.step);
    }
  return out;
}

// Four bytes a pixel to one, its brightness as Pillow computes it.
Picture to_grey(const Picture& picture) {
  Picture grey{picture.height, picture.width, 1, {}};
  for (std::size_t i = 0; i < picture.bytes.size(); i += picture.step) {
    const uint32_t red = picture.bytes[i], green = picture.bytes[i + 1], blue = picture.bytes[i + 2];
    grey.bytes.push_back(static_cast<uint8_t>((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16));
  }
  return grey;
}

}  // namespace

Picture load_picture(const std::string& path, int channels) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  PLEAT_CHECK_FILE(!error, path, error.message());
  PLEAT_CHECK_FILE(bytes <= kMaxFileBytes, path, "is ", bytes, " bytes long, expected at most ", kMaxFileBytes);
  return decode_picture(read_file(path), path, channels);
}

Picture decode_picture(std::span<const std::byte> file, const std::string& name, int channels, int64_t most_pixels) {
  PLEAT_CHECK(channels == 1 || channels == 3, "picture '", name, "': ", channels, " channels wanted, expected 1 or 3");
  const Bytes bytes(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  const auto* const format =
      std::find_if(std::begin(kFormats), std::end(kFormats), [&](const Format& f) { return f.is_it(bytes); });
  if (format == std::end(kFormats)) refuse_unknown(name, bytes);
  auto [picture, orientation] = format->decode({bytes, name, most_pixels});
  if (orientation != 1) picture = upright(picture, orientation);
  return channels == 1 ? to_grey(picture) : std::move(picture);
}

void check_picture_size(const PictureBytes& file, int64_t width, int64_t height) {
  PLEAT_CHECK_FILE(width > 0 && height > 0, file.name, "picture is ", width, "x", height, ", it has no pixels");
  PLEAT_CHECK_FILE(std::max(height, width) <= kMaxSide, file.name, "picture is ", width, "x", height,
                   ", expected at most ", kMaxSide, " a side");
  PLEAT_CHECK_FILE(height * width <= file.most_pixels, file.name, "picture is ", width, "x", height,
                   ", expected at most ", file.most_pixels, " pixels");
}

}  // namespace pleat
