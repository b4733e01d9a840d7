// Pictures from JPEG and PNG files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pleat {

/// Pixels row by row, `step` bytes each: the channels first, then what means nothing.
struct Pixels {
  int height = 0, width = 0, step = 0;
  std::span<const uint8_t> bytes;  ///< [height, width, step]
};

/// The same with bytes of its own.
struct Picture {
  int height = 0, width = 0, step = 0;
  std::vector<uint8_t> bytes;
  Pixels pixels() const { return {height, width, step, bytes}; }
};

/// Decodes a JPEG or PNG file as it is meant to be seen (EXIF's orientation applied): `channels` 1 gives grey of step
/// 1, 3 gives colour of step 4, which vectors like better; transparency is dropped. Throws std::runtime_error naming
/// the file and the reason; files beyond 256 MB and pictures beyond 64 million pixels or 65536 a side are refused
/// before they are decoded, and so are JPEG files that end too early.
Picture load_picture(const std::string& path, int channels);

}  // namespace pleat
