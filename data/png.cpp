// PNG files: their chunks are checked here, as stb_image does not, which then decodes the pixels. Source of the format:
// https://www.w3.org/TR/png-3/ (W3C, third edition).
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>
#include <string_view>

#include "core/check.hpp"
#include "data/decoders.hpp"
#include "data/stb.hpp"

namespace pleat {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr std::size_t kChunkFrame = 12;  // bytes: length, kind and checksum

uint32_t big_endian(Bytes bytes, std::size_t offset) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | bytes[offset + i];
  return value;
}

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ImageMagick's way to keep Exif data, older than eXIf: a text "\nexif\n  SIZE\n" and hexadecimal digits.
std::vector<uint8_t> raw_profile(std::string_view text) {
  std::vector<uint8_t> bytes;
  std::size_t at = 0;
  for (int line = 0; line < 3 && at != std::string_view::npos; ++line) at = text.find('\n', at + (line > 0));
  int high = -1;
  for (const char c : text.substr(std::min(at, text.size()))) {
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) continue;
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (high >= 0) bytes.push_back(static_cast<uint8_t>(high << 4 | digit));
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

// A zlib stream unpacked, or nothing where it is damaged or larger than an Exif block can be.
std::vector<uint8_t> unpacked(Bytes bytes) {
  std::vector<uint8_t> result(1 << 18);
  uLongf size = result.size();
  const bool good = uncompress(result.data(), &size, bytes.data(), bytes.size()) == Z_OK;
  result.resize(good ? size : 0);
  return result;
}

// How a text chunk of the `kind` says the picture is to be turned: by a keyword, a zero byte and the text.
int text_orientation(std::string_view kind, Bytes data) {
  const std::string_view key = as_text(data).substr(0, as_text(data).find('\0'));
  Bytes text = data.subspan(std::min(data.size(), key.size() + 1));
  if (key == "Raw profile type exif") {
    std::vector<uint8_t> plain;
    if (kind == "zTXt") text = plain = unpacked(text.subspan(std::min<std::size_t>(text.size(), 1)));
    const std::vector<uint8_t> profile = raw_profile(as_text(text));
    constexpr std::size_t kExif = 6;  // bytes of "Exif\0\0"
    return exif_orientation(Bytes(profile).subspan(std::min(kExif, profile.size())));
  }
  return key == "XML:com.adobe.xmp" ? xmp_orientation(text) : 1;
}

// Goes through the chunks of a file. What is damaged, or needed and not known, is refused.
class ChunkReader {
 public:
  explicit ChunkReader(const PictureBytes& file) : file_(file) {
    std::size_t at = sizeof kSignature;
    for (bool ended = false; !ended;) {
      const std::size_t left = file.bytes.size() - at;
      const std::size_t length = left >= kChunkFrame ? big_endian(file.bytes, at) : 0;
      if (left < kChunkFrame || length > left - kChunkFrame) refuse("ends too early");
      const Bytes chunk = file.bytes.subspan(at + 4, length + 4), data = chunk.subspan(4);
      const std::string_view kind = as_text(chunk.first(4));
      const bool is_needed = (chunk[0] & 0x20) == 0;  // a capital letter
      const bool is_whole =
          crc32(0, chunk.data(), static_cast<uInt>(chunk.size())) == big_endian(file.bytes, at + 8 + length);
      if (at == sizeof kSignature) check_first(kind, data);
      if (is_needed && !is_whole)
        refuse(concat("has a wrong checksum at byte ", at, ", of its part ", printable(kind)));
      if (is_needed) check_known(kind);
      if (kind == "IDAT") packed_ += static_cast<int64_t>(length);
      if (!is_needed && is_whole) read_optional(kind, data);
      ended = kind == "IEND";
      at += length + kChunkFrame;
    }
    check_packed_size();
  }

  int orientation() const { return exif_ != 1 ? exif_ : text_; }
  int width() const { return width_; }
  int height() const { return height_; }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    throw std::runtime_error(
        concat(file_.name, ": is a PNG file that ", reason, " (it has ", file_.bytes.size(), " bytes)"));
  }

  static std::string printable(std::string_view text) {
    std::string result(text);
    std::replace_if(
        result.begin(), result.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    return result;
  }

  void check_first(std::string_view kind, Bytes data) {
    if (kind == "CgBI") refuse("Apple's tools changed for iPhones (CgBI), which is not supported");
    if (kind != "IHDR" || data.size() != 13) refuse("does not begin with a header");
    check_picture_size(file_, big_endian(data, 0), big_endian(data, 4));
    width_ = static_cast<int>(big_endian(data, 0));
    height_ = static_cast<int>(big_endian(data, 4));
    constexpr int kSamples[] = {1, 1, 3, 1, 2, 1, 4};  // by the kind of colour, 0 to 6
    bits_ = data[8] * kSamples[std::min<int>(data[9], 6)];
  }

  void check_known(std::string_view kind) const {
    for (const std::string_view known : {"IHDR", "PLTE", "IDAT", "IEND"})
      if (kind == known) return;
    refuse(concat("has a part ", printable(kind), ", which is not known"));
  }

  void read_optional(std::string_view kind, Bytes data) {
    if (kind == "eXIf") exif_ = exif_orientation(data);
    if ((kind == "tEXt" || kind == "zTXt" || kind == "iTXt") && text_ == 1) text_ = text_orientation(kind, data);
  }

  // Deflated zeros take a thousandth of their size: a small file could hold gigabytes behind its picture. Pixels that
  // do not shrink grow by a few bytes a block, and no more.
  void check_packed_size() const {
    const int64_t plain = height_ * (int64_t{width_} * bits_ / 8 + 16);
    constexpr int64_t kOverhead = 1 << 16;
    if (packed_ > plain + plain / 4 + kOverhead)
      refuse(concat("holds ", packed_, " bytes of packed pixels, but all ", width_, "x", height_, " take ", plain,
                    " unpacked"));
  }

  const PictureBytes& file_;
  int width_ = 0, height_ = 0, bits_ = 0;  // bits of a pixel
  int64_t packed_ = 0;                     // bytes of packed pixels
  int exif_ = 1, text_ = 1;
};

}  // namespace

bool is_png(Bytes bytes) {
  return bytes.size() >= sizeof kSignature && std::equal(std::begin(kSignature), std::end(kSignature), bytes.begin());
}

DecodedPicture decode_png(const PictureBytes& file) {
  const ChunkReader chunks(file);
  return {decode_by_stb(file, "PNG", chunks.width(), chunks.height()), chunks.orientation()};
}

}  // namespace pleat
