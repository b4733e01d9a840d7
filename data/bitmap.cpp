// BMP files by stb_image, which takes headers at their word and reads zeros behind a file's end, so that they are
// checked here first; PPM and PGM files, whose pixels need no decoding. Sources: Microsoft, "Bitmap Storage";
// netpbm.sourceforge.net/doc/ppm.html.
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "core/check.hpp"
#include "data/stb.hpp"

namespace pleat {
namespace {

using Bytes = std::span<const uint8_t>;

void check_complete(const PictureBytes& file, const char* kind, int64_t needed) {
  PLEAT_CHECK_FILE(static_cast<int64_t>(file.bytes.size()) >= needed, file.name, "is a ", kind,
                   " file that ends too early: it has ", file.bytes.size(), " bytes, its header promises ", needed);
}

int64_t little_endian(const PictureBytes& file, std::size_t offset, int size) {
  check_complete(file, "BMP", static_cast<int64_t>(offset) + size);
  uint32_t value = 0;
  for (int i = size - 1; i >= 0; --i) value = value << 8 | file.bytes[offset + i];
  return size == 4 ? int64_t{static_cast<int32_t>(value)} : int64_t{value};
}

// The next number of a PNM header, which spaces and comments may precede.
int64_t next_number(const PictureBytes& file, std::size_t& at) {
  const Bytes bytes = file.bytes;
  while (at < bytes.size() && (std::isspace(bytes[at]) != 0 || bytes[at] == '#'))
    at = bytes[at] == '#' ? std::find(bytes.begin() + at, bytes.end(), '\n') - bytes.begin() : at + 1;
  const std::size_t begin = at;
  int64_t value = 0;
  constexpr int64_t kMost = 1'000'000'000;
  for (; at < bytes.size() && std::isdigit(bytes[at]) != 0 && value < kMost; ++at) value = value * 10 + bytes[at] - '0';
  PLEAT_CHECK_FILE(at > begin && at < bytes.size(), file.name, "is a PPM or PGM file with a bad header");
  return value;
}

}  // namespace

bool is_bmp(Bytes bytes) {
  return bytes.size() >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
}

bool is_pnm(Bytes bytes) {
  return bytes.size() >= 3 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6') && std::isspace(bytes[2]) != 0;
}

DecodedPicture decode_bmp(const PictureBytes& file) {
  constexpr int64_t kFileHeader = 14, kFirstHeader = 40;
  const int64_t pixels_at = little_endian(file, 10, 4), header = little_endian(file, kFileHeader, 4);
  PLEAT_CHECK_FILE(header >= kFirstHeader, file.name, "is a BMP file of OS/2's kind, which is not supported");
  const int64_t width = little_endian(file, 18, 4), height = std::abs(little_endian(file, 22, 4)),
                bits = little_endian(file, 28, 2), compression = little_endian(file, 30, 4);
  PLEAT_CHECK_FILE(compression == 0 || compression == 3, file.name, "is a BMP file of compression ", compression,
                   ", which is not supported (expected 0 or 3)");
  PLEAT_CHECK_FILE(bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32, file.name,
                   "is a BMP file of ", bits, " bits a pixel, expected 1, 4, 8, 16, 24 or 32");
  check_picture_size(file, width, height);
  const int64_t row = (width * bits + 31) / 32 * 4;
  PLEAT_CHECK_FILE(pixels_at >= kFileHeader + header, file.name, "is a BMP file whose pixels begin at ", pixels_at,
                   ", within its header");
  check_complete(file, "BMP", pixels_at + row * height);
  if (bits <= 8) {
    // Pixels are numbers of colours, of which there may be fewer than the bits can count.
    const int64_t colours = (pixels_at - kFileHeader - header) / 4;
    const uint32_t mask = (1U << bits) - 1;
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const int64_t bit = x * bits;
        const uint32_t colour = file.bytes[pixels_at + y * row + bit / 8] >> (8 - bits - bit % 8) & mask;
        PLEAT_CHECK_FILE(colour < colours, file.name, "is a BMP file with a pixel of colour ", colour, ", but it has ",
                         colours, " colours");
      }
  }
  return {decode_by_stb(file, "BMP", width, height)};
}

DecodedPicture decode_pnm(const PictureBytes& file) {
  std::size_t at = 2;
  const int64_t width = next_number(file, at), height = next_number(file, at), most = next_number(file, at);
  PLEAT_CHECK_FILE(most >= 1 && most <= 65535, file.name, "is a PPM or PGM file with values up to ", most,
                   ", expected 1 to 65535");
  check_picture_size(file, width, height);
  ++at;  // one space ends the header
  const int64_t channels = file.bytes[1] == '6' ? 3 : 1, size = most > 255 ? 2 : 1;
  check_complete(file, "PPM or PGM", static_cast<int64_t>(at) + width * height * channels * size);
  DecodedPicture result{{static_cast<int>(height), static_cast<int>(width), 4, {}}};
  result.picture.bytes.reserve(4 * width * height);
  const auto sample = [&](int64_t index) {
    const uint8_t* const bytes = file.bytes.data() + at + index * size;
    const int64_t value = size == 2 ? bytes[0] << 8 | bytes[1] : bytes[0];
    // The upper byte where all 16 bits are used, as of a PNG file.
    return static_cast<uint8_t>(most == 65535 ? value >> 8 : (std::min(value, most) * 255 + most / 2) / most);
  };
  for (int64_t i = 0; i < width * height; ++i) {
    for (int64_t c = 0; c < 3; ++c) result.picture.bytes.push_back(sample(channels == 3 ? 3 * i + c : i));
    result.picture.bytes.push_back(255);
  }
  return result;
}

}  // namespace pleat
