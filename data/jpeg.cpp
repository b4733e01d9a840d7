#include "data/jpeg.hpp"

#include <cstring>
#include <numeric>

namespace pleat {
namespace {

using Bytes = std::span<const uint8_t>;

// A number of `size` bytes at `at`; 0 beyond the end.
uint32_t number(Bytes bytes, std::size_t at, int size, bool little_endian) {
  if (at > bytes.size() || bytes.size() - at < static_cast<std::size_t>(size)) return 0;
  uint32_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | bytes[at + (little_endian ? size - 1 - i : i)];
  return value;
}

// Of the TIFF structure that an APP1 segment holds: tag 0x112 of the first directory.
int orientation(Bytes tiff) {
  const bool little = number(tiff, 0, 2, false) == 0x4949;  // "II"
  const std::size_t directory = number(tiff, 4, 4, little);
  const uint32_t entries = number(tiff, directory, 2, little);
  for (uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (entry > tiff.size()) break;
    if (number(tiff, entry, 2, little) != 0x112) continue;
    const uint32_t value = number(tiff, entry + 8, 2, little);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

// The tables of a DHT segment: of each its class, how many codes there are of 1 to 16 bits, and their values.
bool are_huffman_tables(Bytes segment) {
  constexpr std::size_t kHeader = 17, kMostCodes = 256;
  while (!segment.empty()) {
    if (segment.size() < kHeader) return false;
    const std::size_t codes = std::accumulate(segment.begin() + 1, segment.begin() + kHeader, std::size_t{0});
    if (codes > kMostCodes || codes > segment.size() - kHeader) return false;
    segment = segment.subspan(kHeader + codes);
  }
  return true;
}

}  // namespace

bool is_jpeg(Bytes file) {
  return number(file, 0, 1, false) == 0xFF;
}

JpegFile scan_jpeg(Bytes file) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  JpegFile result;
  std::size_t at = 0;
  while (at + 1 < file.size()) {
    const auto* const mark = static_cast<const uint8_t*>(std::memchr(file.data() + at, 0xFF, file.size() - at - 1));
    if (mark == nullptr) break;
    at = mark - file.data();
    const uint8_t kind = file[at + 1];
    if (kind == 0xFF) {  // filling
      ++at;
      continue;
    }
    at += 2;
    if (kind == 0xD9) return result;
    if (kind == 0 || kind == 1 || (kind >= 0xD0 && kind <= 0xD8)) continue;  // a byte of data, or without a segment
    const std::size_t length = number(file, at, 2, false);
    if (length < 2 || length > file.size() - at) break;
    const Bytes segment = file.subspan(at + 2, length - 2);
    if (kind == 0xE1 && segment.size() > kExif.size() && std::memcmp(segment.data(), kExif.data(), kExif.size()) == 0)
      result.orientation = orientation(segment.subspan(kExif.size()));
    if (kind == 0xC4 && !are_huffman_tables(segment)) {
      result.fault = "has a bad Huffman table";
      return result;
    }
    at += length;
  }
  result.fault = "ends too early";
  return result;
}

}  // namespace pleat
