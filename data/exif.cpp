// Where cameras say how a picture is to be turned.
#include <algorithm>
#include <cctype>
#include <string_view>

#include "data/decoders.hpp"

namespace pleat {
namespace {

using Bytes = std::span<const uint8_t>;

// A number of `size` bytes at `offset`; 0 beyond the end.
uint32_t number(Bytes bytes, std::size_t offset, int size, bool little_endian) {
  if (offset > bytes.size() || bytes.size() - offset < static_cast<std::size_t>(size)) return 0;
  uint32_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | bytes[offset + (little_endian ? size - 1 - i : i)];
  return value;
}

}  // namespace

int exif_orientation(Bytes tiff) {
  constexpr uint32_t kLittleEndian = 0x4949 /* "II" */, kOrientation = 0x112;
  constexpr std::size_t kEntryBytes = 12;
  const bool little = number(tiff, 0, 2, false) == kLittleEndian;
  const std::size_t directory = number(tiff, 4, 4, little);
  const uint32_t entries = number(tiff, directory, 2, little);
  for (uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + kEntryBytes * i;
    if (entry > tiff.size()) break;
    if (number(tiff, entry, 2, little) != kOrientation) continue;
    const uint32_t value = number(tiff, entry + 8, 2, little);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

int xmp_orientation(Bytes xml) {
  // An attribute, tiff:Orientation="6", or an element, <tiff:Orientation>6</tiff:Orientation>.
  for (const std::string_view key : {"tiff:Orientation=\"", "tiff:Orientation>"}) {
    const auto found = std::search(xml.begin(), xml.end(), key.begin(), key.end());
    if (xml.end() - found <= static_cast<std::ptrdiff_t>(key.size())) continue;
    const int value = found[key.size()] - '0';
    if (value >= 1 && value <= 8) return value;
  }
  return 1;
}

}  // namespace pleat
